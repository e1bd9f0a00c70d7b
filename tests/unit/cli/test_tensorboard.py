"""`dsj tensorboard`: event files that TensorBoard's own reader understands."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from builders.left_jobs import left_job, trained
from deepseek_operator.cli.main import dsj
from deepseek_operator.executors.processes import python_environment


def call(*arguments: str) -> Result:
    return CliRunner().invoke(dsj, ["tensorboard", *arguments])


def read(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_curves_and_diary(here: Path) -> None:
    rows = trained()
    left_job(rows=rows)
    result = call("digits")
    assert result.exit_code == 0
    assert result.stdout == "runs/digits: 79 values of 5 curves\n"
    assert result.stderr == "next: tensorboard --logdir runs\n"
    run = read(here / "runs" / "digits")
    assert run.Tags()["scalars"] == [
        "training/loss", "training/staleness", "network/bytes", "evaluation/accuracy", "evaluation/loss",
    ]  # fmt: skip
    pushes = [row for row in rows if "g" in row]
    assert [(one.step, one.wall_time) for one in run.Scalars("training/loss")] == [
        (r["step"], r["time"]) for r in pushes
    ]
    assert [one.value for one in run.Scalars("training/loss")] == pytest.approx([row["loss"] for row in pushes])
    assert [one.step for one in run.Scalars("evaluation/accuracy")] == [80, 160]
    diary = run.Tensors("events")[0].tensor_proto.string_val[0].decode()
    assert "| 80 | checkpoint | checkpoint of step 80 |" in diary


def test_what_was_given_up_is_a_run_of_its_own(here: Path) -> None:
    left_job(rows=trained(roll_back_at=160))
    answer = json.loads(call("digits", "--logdir", "out", "-o", "json").stdout)
    assert [run["folder"] for run in answer["runs"]] == ["out/digits", "out/digits given up 1"]
    assert answer["view"] == "tensorboard --logdir out"
    gone = read(here / "out" / "digits given up 1")
    assert [one.step for one in gone.Scalars("training/loss")] == [128, 136, 144, 152]
    steps = [one.step for one in read(here / "out" / "digits").Scalars("training/loss")]
    assert steps == list(range(0, 200, 8))


def test_called_again_it_replaces_its_own_files_alone(here: Path) -> None:
    left_job(rows=trained(roll_back_at=160))
    call("digits")
    (here / "runs" / "digits" / "events.out.tfevents.1.theirs").write_text("")
    folder = here / "state" / "dsj" / "digits"
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:10]))
    assert call("digits").exit_code == 0
    assert sorted(path.name for path in (here / "runs").iterdir()) == ["digits"]
    assert len(list((here / "runs" / "digits").iterdir())) == 2
    assert (here / "runs" / "digits" / "events.out.tfevents.1.theirs").exists()


def test_a_job_without_measurements() -> None:
    left_job()
    result = call("digits")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (66, "error: digits has measured nothing yet")
    assert call("nojob").exit_code == 66


def test_torch_and_tensorflow_are_not_needed(here: Path) -> None:
    left_job(rows=trained())
    script = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['tensorflow'] = None\n"
        "from deepseek_operator.cli.main import main\n"
        "main(['tensorboard', 'digits'])\n"
    )
    environment = python_environment()
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "next: tensorboard --logdir runs\n")
