"""Bad manifests, at least one of each class: the whole message, its class and the exit code.

Rules that join fields: test_bad_combinations.py.
"""

from pathlib import Path
from typing import get_args

import pytest

from builders.bad_manifests import MISTAKES
from builders.manifests import refused
from deepseek_operator.api.load import parse_manifest
from deepseek_operator.api.problems import Kind, ManifestError
from deepseek_runtime.contract.exit_codes import CONFIG

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "manifests.md"


@pytest.mark.parametrize(
    "kind,text,message",
    [
        pytest.param(kind, text, message, id=name.replace(" ", "-"))
        for kind, cases in MISTAKES.items()
        for name, text, message in cases
    ],
)
def test_one_mistake_gives_one_message(kind: Kind, text: str, message: str, tmp_path: Path) -> None:
    problem = refused(text, message, tmp_path)
    assert problem.kind == kind


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
apiVersion: deepseek.dev/v1alpha1
kind: DeepseekJob
metadata:
  name: Digits
spec:
  servers: {replicas: none}
  workers: {min: 3, max: 2, replicas: 0}
  training:
    script: gone.py
    batch_size: 32
    seed: 1
    seed: -1
    optimizer: {name: sgd, momentum: 2, betas: [0.9, 0.99]}
    compression: {method: none, ratio: 0.1}
  checkpoint:
    storage: {uri: "s4://a/b"}
    restoreFrom: nowhere
"""
    with pytest.raises(ManifestError) as caught:
        parse_manifest(text, "job.yaml", tmp_path)
    assert [(p.line, p.field, p.kind) for p in caught.value.problems] == [
        (4, "metadata.name", "name"),
        (6, "spec.servers.replicas", "type"),
        (7, "spec.workers.min", "combination"),
        (7, "spec.workers.replicas", "range"),
        (8, "spec.training", "required"),
        (9, "spec.training.script", "missing"),
        (10, "spec.training.batch_size", "unknown"),
        (12, "spec.training.seed", "duplicate"),
        (12, "spec.training.seed", "range"),
        (13, "spec.training.optimizer.momentum", "range"),
        (13, "spec.training.optimizer.betas", "combination"),
        (14, "spec.training.compression.ratio", "combination"),
        (16, "spec.checkpoint.storage.uri", "scheme"),
        (17, "spec.checkpoint.restoreFrom", "missing"),
    ]
    assert caught.value.exit_code == CONFIG


def test_every_class_of_problem_has_a_case_and_a_line_in_the_reference() -> None:
    page = PAGE.read_text(encoding="utf-8")
    kinds = MISTAKES.keys() | {"combination", "exclusive", "missing", "store"}
    assert kinds == set(get_args(Kind))
    for kind in kinds:
        assert f"| `{kind}` |" in page
