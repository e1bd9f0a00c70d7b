"""What is right is taken, its defaults are stored, those that say nothing aside; applied again it changes nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.full_job import FULL, VOLUME
from builders.kubectl import Kubectl
from builders.manifests import RIGHT
from deepseek_operator.api.load import read_job

ROOT = Path(__file__).parents[3]
ON_ONE_MACHINE = {"script/job.yaml": "its code is the folder of the manifest"}
"""Examples that the API server refuses (test_refused.py), and why."""
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
Store = Callable[[str], dict[str, Any]]


def without_nothing(value: object) -> object:
    """Without what is absent, None in a model, and without what is empty: of that the API server is told no default."""
    if isinstance(value, dict):
        told = {key: without_nothing(item) for key, item in value.items()}
        return {key: item for key, item in told.items() if item is not None and item not in ("", [], {})}
    return [without_nothing(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_example_is_taken(kubectl: Kubectl, path: Path) -> None:
    said = kubectl.judged(path.read_text(encoding="utf-8"))
    if str(path.relative_to(ROOT / "examples")) in ON_ONE_MACHINE:
        assert "spec.training.code.folder: Forbidden" in said
    else:
        assert said == ""


@pytest.mark.parametrize("text", [RIGHT, FULL, VOLUME], ids=["right", "full", "volume"])
def test_defaults_are_stored_as_the_models_have_them(stored: Store, text: str) -> None:
    data = yaml.safe_load(text)
    data["spec"]["suspend"] = True
    job, kept = read_job(data), stored(text)
    assert read_job(kept).spec == job.spec
    due = job.model_dump(mode="json", by_alias=True)["spec"]
    assert without_nothing(completed(kept["spec"], due)) == without_nothing(due)


def completed(stored: Any, due: Any, in_item: bool = False) -> object:
    """What is stored, with the defaults of items from `due`: of these the API server is told none (schema.py)."""
    if isinstance(due, list):
        return [completed(*pair, True) for pair in zip(stored, due, strict=True)]
    if isinstance(due, dict):
        own = {key: completed(value, due.get(key), in_item) for key, value in stored.items() if value is not None}
        return {**due, **own} if in_item else own
    return stored


def test_free_mappings_keep_what_they_hold(stored: Store) -> None:
    spec = stored(FULL)["spec"]
    assert spec["training"]["args"] == yaml.safe_load(FULL)["spec"]["training"]["args"]
    assert spec["checkpoint"]["storage"]["options"] == {"endpoint_url": "http://store:9000", "anon": False}


@pytest.mark.parametrize(
    "path, section",
    [
        (("workers", "pod"), {"nodeSelector": {"disk": "fast"}}),
        (("servers", "pod"), {"tolerations": [{"operator": "Exists"}]}),
        (("training", "compression"), {"method": "none"}),
        (("training", "update"), {"mode": "gradient"}),
        (("training", "precision"), {"compute": "float16"}),
        (("checkpoint",), {}),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)
def test_a_section_may_say_one_thing_alone(kubectl: Kubectl, path: tuple[str, ...], section: dict[str, Any]) -> None:
    data = yaml.safe_load(RIGHT)
    data["spec"]["training"]["compression"] = {"method": "none"}  # which goes with any update
    *outer, last = path
    at = data["spec"]
    for name in outer:
        at = at.setdefault(name, {})
    at[last] = section
    assert kubectl.judged(yaml.safe_dump(data)) == ""


@pytest.mark.parametrize("text", [RIGHT, FULL, VOLUME], ids=["right", "full", "volume"])
def test_applied_again_nothing_changes(kubectl: Kubectl, stored: Store, text: str) -> None:
    once, twice = stored(text), stored(text)
    assert once["metadata"]["generation"] == twice["metadata"]["generation"] == 1
    assert once["metadata"]["resourceVersion"] == twice["metadata"]["resourceVersion"]


def test_nothing_empty_is_stored(stored: Store) -> None:
    assert without_nothing(stored(RIGHT)["spec"]) == stored(RIGHT)["spec"]


def test_what_the_operator_writes_is_not_undone_by_applying_again(kubectl: Kubectl, stored: Store) -> None:
    stored(RIGHT)
    patch = '{"status": {"phase": "Running", "columns": {"step": "5/100"}}}'
    kubectl.done("patch", "dsj", "digits", "--subresource=status", "--type=merge", f"--patch={patch}")
    assert stored(RIGHT)["status"]["columns"]["step"] == "5/100"
