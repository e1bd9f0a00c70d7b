"""`dsj export` and `dsj checkpoints`: which checkpoint, where to, and what is said when there is none."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import load_file

from builders import snapshots
from builders.checkpoints import a_job
from builders.left_jobs import left_job, store_of
from deepseek_operator.cli.main import dsj
from deepseek_operator.state_folder import StateFolder
from deepseek_runtime.protocol.lineage import Base, Step


def call(*arguments: str) -> Result:
    return CliRunner().invoke(dsj, list(arguments))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def job(here: Path) -> StateFolder:
    """Term 2 went back to step 10 of term 1; step 20 of that is from before."""
    progress = snapshots.progress(step=40, metrics_step=40, metrics={"accuracy": 0.875})
    folder = left_job("digits", snapshots.succeeded().status.model_copy(update={"progress": progress}))
    bases = {1: Base(restored=Step(1, 0)), 2: Base(restored=Step(1, 10))}
    a_job(store_of(folder), bases, {1: [0, 10, 20], 2: [30, 40]})
    return folder


def test_the_newest_with_what_was_reported_of_it(job: StateFolder, here: Path) -> None:
    result = call("export", "digits")
    assert result.exit_code == 0
    first, how = result.stdout.splitlines()
    assert first.startswith("digits.safetensors: digits at step 40, accuracy 0.875; 3 tensors, ")
    assert how == 'load it: model.load_state_dict(safetensors.torch.load_file("digits.safetensors"))'
    assert load_file(here / "digits.safetensors")["w"].tolist() == [[40.0] * 8] * 3


def test_an_older_one_as_json(job: StateFolder, here: Path) -> None:
    answer = json.loads(call("export", "digits", "--step", "10", "-f", "old/it.safetensors", "-o", "json").stdout)
    assert answer == {
        "job": "digits", "file": str(here / "old" / "it.safetensors"), "step": 10, "term": 1, "tensors": 3,
        "bytes": (here / "old" / "it.safetensors").stat().st_size, "metrics": None, "passedOver": [],
    }  # fmt: skip
    assert load_file(here / "old" / "it.safetensors")["w"][0, 0] == 10


def test_what_a_roll_back_left_behind_is_not_exported(job: StateFolder) -> None:
    result = call("export", "digits", "--step", "20")
    assert result.exit_code == 66
    assert "holds no checkpoint of step 20; there are: 0, 10, 30, 40" in result.stderr
    assert "hint: dsj checkpoints digits" in result.stderr


def test_a_metric_that_is_no_number(here: Path) -> None:
    progress = snapshots.progress(step=10, metrics_step=10, metrics={"accuracy": 0.1, "loss": float("nan")})
    folder = left_job("digits", snapshots.succeeded().status.model_copy(update={"progress": progress}))
    a_job(store_of(folder), {1: Base(restored=Step(1, 0))}, {1: [0, 10]})
    assert json.loads(call("export", "digits", "-o", "json").stdout)["metrics"] == {"accuracy": 0.1, "loss": None}
    assert ", accuracy 0.1, loss nan; " in call("export", "digits").stdout


def test_into_a_folder_and_never_over_another_kind_of_file(job: StateFolder, here: Path) -> None:
    (here / "out").mkdir()
    assert call("export", "digits", "-f", "out").exit_code == 0
    assert (here / "out" / "digits.safetensors").exists()
    (here / "train.py").write_text("precious")
    assert call("export", "digits", "-f", "train.py").exit_code == 64
    assert (here / "train.py").read_text() == "precious"


def test_a_damaged_one_is_passed_over_and_that_is_said(job: StateFolder) -> None:
    index = job.checkpoints / "t2" / "step-40" / "index.json"
    index.write_bytes(index.read_bytes()[:-40])
    result = call("export", "digits")
    assert result.exit_code == 0
    assert "note: the checkpoint of step 40 was passed over: " in result.stderr
    assert "digits at step 30;" in result.stdout


def test_list_of_checkpoints(job: StateFolder) -> None:
    lines = call("checkpoints", "digits").stdout.splitlines()
    assert lines[0] == f"digits: {job.checkpoints.as_uri()}"
    assert lines[1].split() == ["STEP", "TERM", "SIZE", "AGE"]
    assert [line.split()[:2] for line in lines[2:]] == [["40", "2"], ["30", "2"], ["10", "1"], ["0", "1"], ["20", "1"]]
    assert lines[-1].endswith("from before a roll-back")
    rows = json.loads(call("checkpoints", "digits", "-o", "json").stdout)["checkpoints"]
    assert [row["current"] for row in rows] == [True, True, True, True, False]
    assert rows[0]["created"] == "2026-01-01T00:00:00Z"


def test_a_job_that_never_began(here: Path) -> None:
    left_job("young", begun=False)
    for command in ("export", "checkpoints"):
        result = call(command, "young")
        assert (result.exit_code, "Traceback" in result.stderr) == (66, False)
    left_job("empty")
    assert call("export", "empty").exit_code == 66
    assert call("checkpoints", "empty").stdout == "empty has saved nothing yet\n"
    assert call("export", "nojob").exit_code == 66
