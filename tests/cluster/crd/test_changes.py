"""What may change in a job that the API server holds: as api/changes.py judges it, in the same words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.kubectl import Kubectl
from builders.manifests import RIGHT, with_spec, with_training
from deepseek_operator.api.changes import change_kind
from deepseek_operator.api.load import parse_manifest

GRADIENT = with_training("optimizer: {name: sgd}", "update: {mode: gradient}")
CHANGES = {
    "steps up": (RIGHT, RIGHT.replace("steps: 100", "steps: 101")),
    "steps down": (RIGHT, RIGHT.replace("steps: 100", "steps: 99")),
    "steps to epochs": (RIGHT, RIGHT.replace("steps: 100", "epochs: 1")),
    "seed": (RIGHT, with_training("seed: 1")),
    "batch size": (RIGHT, with_training("batchSize: 1")),
    "local steps": (RIGHT, with_training("update: {localSteps: 1}")),
    "local steps, the default": (RIGHT, with_training("update: {localSteps: 8}")),
    "local steps of gradient, the default": (GRADIENT, GRADIENT.replace("mode: g", "localSteps: 1, mode: g")),
    "mode": (RIGHT, GRADIENT),
    "compression": (RIGHT, with_training("compression: {method: none}")),
    "task": (RIGHT, RIGHT.replace(":Digits", ":Other")),
    "task to script": (
        with_training("code: {configMap: a}"),
        with_training("code: {configMap: a}").replace("task: deepseek_runtime.tasks.digits:Digits", "script: a.py"),
    ),
    "image": (RIGHT, with_spec("image: x")),
    "learning rate": (RIGHT, with_training("optimizer: {lr: 0.5}")),
    "workers": (RIGHT, with_spec("workers: {replicas: 2}")),
    "checkpoints": (RIGHT, with_spec("checkpoint: {keep: 1}")),
}
CODE = "---\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a.py: ''}\n"


@pytest.mark.parametrize("before,after", CHANGES.values(), ids=CHANGES.keys())
def test_the_api_server_judges_a_change_as_we_do(
    kubectl: Kubectl, stored: Callable[[str], dict[str, Any]], before: str, after: str
) -> None:
    stored(before)
    data = yaml.safe_load(after)
    data["spec"]["suspend"] = True
    said = kubectl.judged(yaml.safe_dump(data))
    old, new = (parse_manifest(text + CODE, "job.yaml", Path("/nowhere")).job for text in (before, after))
    change = change_kind(old, new)
    if change.kind != "refused":
        assert said == ""
        return
    for field in change.fields:
        assert f"{field}: Forbidden: a running job cannot change {field} from " in said
    assert change.message.rsplit(": ", 1)[1] in said
    if len(change.fields) == 1:
        assert change.message in said
