"""Manifests from a few words of Python."""

from pathlib import Path

import pytest

from builders.manifests import RIGHT
from deepseek_operator.api.problems import ManifestError
from deepseek_operator.compose import compose, job_name, laid_over

DIGITS = "deepseek_runtime.tasks.digits:Digits"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "My_Train.py").write_text("import helper\n")
    (tmp_path / "helper.py").write_text("")
    return tmp_path / "My_Train.py"


def test_a_script_goes_with_its_folder(script: Path) -> None:
    manifest = compose(script)
    assert manifest.job.name == "my-train"
    assert manifest.code is not None
    assert sorted(manifest.code.files) == ["My_Train.py", "helper.py"]
    training = manifest.job.spec.training
    assert (training.script, training.epochs, training.steps) == ("My_Train.py", 1, None)


def test_a_script_relative_to_the_working_folder(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(script.parent.parent)
    assert compose(f"{script.parent.name}/My_Train.py").code is not None


def test_an_installed_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = compose(DIGITS, spec={"workers": {"replicas": 3}, "training": {"steps": 100}})
    assert (manifest.job.name, manifest.code) == ("digits", None)
    assert (manifest.job.spec.workers.replicas, manifest.job.spec.training.steps) == (3, 100)
    assert manifest.job.spec.training.epochs is None


def test_a_manifest_as_it_is_and_with_changes(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(RIGHT)
    plain = compose(file)
    assert plain.text == RIGHT
    changed = compose(file, name="other", spec={"training": {"epochs": 3, "optimizer": {"lr": 1e-6}}})
    assert (plain.job.name, changed.job.name) == ("digits", "other")
    assert (changed.job.spec.training.steps, changed.job.spec.training.epochs) == (None, 3)
    assert changed.job.spec.training.optimizer is not None
    assert changed.job.spec.training.optimizer.lr == 1e-6
    assert changed.job.spec.training.task == plain.job.spec.training.task


def test_code_in_the_same_file_comes_along(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    config_map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: code}\ndata: {train.py: 'x = 1'}\n"
    training = "training: {script: train.py, code: {configMap: code}, steps: 10}"
    head = "apiVersion: deepseek.dev/v1alpha1\nkind: DeepseekJob\nmetadata: {name: mine}\n"
    file.write_text(f"{head}spec:\n  {training}\n---\n{config_map}")
    manifest = compose(file, spec={"workers": {"replicas": 2}})
    assert manifest.code is not None
    assert manifest.code.files == {"train.py": b"x = 1"}
    assert manifest.job.spec.workers.replicas == 2


@pytest.mark.parametrize(
    "what, spec, message",
    [
        ("none.py", {}, '"none.py" does not exist'),
        ("My_Train.py", {"workers": {"replicas": 0}}, "spec.workers.replicas: 0 is too small"),
        ("My_Train.py", {"training": {"batch_size": 3}}, "did you mean batchSize?"),
        ("none.yaml", {}, "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_as_of_a_file(
    script: Path, monkeypatch: pytest.MonkeyPatch, what: str, spec: dict[str, dict[str, int]], message: str
) -> None:
    monkeypatch.chdir(script.parent)
    with pytest.raises(ManifestError) as raised:
        compose(what, spec=spec)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "text, name",
    [("train", "train"), ("MyTask", "my-task"), ("__x__", "x"), ("train_v2.1", "train-v2-1"), ("_", "job"),
     ("a" * 60, "a" * 45), ("GPT", "gpt")],
)  # fmt: skip
def test_names(text: str, name: str) -> None:
    assert job_name(text) == name


def test_laying_over() -> None:
    below = {"a": {"x": 1, "y": 2}, "steps": 3, "b": 1}
    assert laid_over(below, {"a": {"y": 5}, "epochs": 1}) == {"a": {"x": 1, "y": 5}, "epochs": 1, "b": 1}
    assert below == {"a": {"x": 1, "y": 2}, "steps": 3, "b": 1}
    assert laid_over({"a": {"x": 1}}, {"a": None}) == {"a": None}
