"""The client on jobs that have ended, and on what cannot be started."""

import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from builders import snapshots
from builders.checkpoints import a_job
from builders.left_jobs import left_job, store_of
from builders.snapshots import condition
from deepseek_operator import JobFailed, NotStarted, attach, launch, run
from deepseek_operator.api.load import Manifest
from deepseek_operator.executors.processes import python_environment
from deepseek_operator.kept import NotThere
from deepseek_runtime.protocol.lineage import Base, Step


def test_the_result_of_a_job_that_succeeded() -> None:
    folder = left_job()
    a_job(store_of(folder), {1: Base(restored=Step(1, 0))}, {1: [0, 50]})
    result = attach("digits").result()
    assert (result.metrics, result.steps, result.loss) == ({"accuracy": 0.97041, "loss": 0.1179}, 5000, 1.8312)
    assert load_file(result.model)["w"][0, 0] == 50
    assert result.model == folder.path / "model.safetensors"
    assert result.status.exit_code == 0


def test_a_failure_has_all_that_is_known_of_it() -> None:
    left_job("digits", snapshots.failed().status)
    job = attach("digits")
    with pytest.raises(JobFailed) as raised:
        job.result()
    failed = raised.value
    assert (failed.reason, failed.role, failed.index, failed.exit_code) == ("UserCodeRaised", "worker", 1, 65)
    assert "digits has failed: worker 1: train.py line 3: KeyError: 'label'" in str(failed)
    assert "dsj logs digits --role worker --index 1 shows more" in failed.remedy
    assert job.why() == str(failed)
    assert job.wait().phase == "Failed"
    assert [event.reason for event in job.events()][-1] == "CheckpointSaved"


def test_a_suspended_job_has_no_result() -> None:
    left_job("digits", snapshots.suspended().status)
    with pytest.raises(JobFailed) as raised:
        attach("digits").result()
    assert (raised.value.reason, raised.value.role, raised.value.exit_code) == ("Suspended", None, None)
    assert raised.value.remedy == "dsj run --resume digits"


def test_a_job_whose_supervisor_is_gone() -> None:
    left_job("digits", snapshots.snapshot(condition("Running", "Training")).status.model_copy(update={"members": ()}))
    job = attach("digits")
    assert job.phase == "Interrupted"
    with pytest.raises(JobFailed, match="ended without its supervisor's word"):
        job.result()


def test_logs_of_members_that_are_gone() -> None:
    folder = left_job()
    (folder.logs / "worker-0-0.log").write_text("2026-01-01T00:00:02Z second\nTraceback\n")
    (folder.logs / "server-0-0.log").write_text("2026-01-01T00:00:01Z first\n2026-01-01T00:00:03Z third")
    job = attach("digits")
    expected = [
        "server-0-0 | 2026-01-01T00:00:01Z first",
        "worker-0-0 | 2026-01-01T00:00:02Z second",
        "worker-0-0 | Traceback",
        "server-0-0 | 2026-01-01T00:00:03Z third",
    ]
    assert list(job.logs()) == expected
    assert list(job.logs(follow=True)) == expected
    assert list(job.logs(role="worker", index=0)) == expected[1:3]
    assert list(job.logs(role="worker", index=7)) == []


def test_names_that_are_not_there() -> None:
    left_job()
    with pytest.raises(NotThere, match="did you mean digits"):
        attach("digts")


def test_what_cannot_be_started_says_what_to_do_in_python(tmp_path: Path) -> None:
    left_job("train")
    (tmp_path / "train.py").write_text("")
    with pytest.raises(NotStarted) as raised:
        run(tmp_path / "train.py")
    assert raised.value.hint == "resume=True goes on with it, replace=True deletes it and starts anew"
    with pytest.raises(NotStarted, match="cluster=True"):
        run(tmp_path / "train.py", namespace="ml")


def test_keywords_become_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Manifest, dict[str, bool]]] = []

    def start(manifest: Manifest, **how: bool) -> object:
        given.append((manifest, how))
        return left_job("mine")

    monkeypatch.setattr(launch, "start", start)
    (tmp_path / "train.py").write_text("")
    run(
        tmp_path / "train.py", name="mine", servers=2, workers=3, steps=100, batch_size=8, seed=4, args={"lr": 0.5},
        spec={"checkpoint": {"everySteps": 50}}, replace=True,
    )  # fmt: skip
    ((manifest, how),) = given
    spec = manifest.job.spec
    assert (manifest.job.name, spec.servers.replicas, spec.workers.replicas) == ("mine", 2, 3)
    training = spec.training
    assert (training.steps, training.batch_size, training.seed, training.args) == (100, 8, 4, {"lr": 0.5})
    assert (training.epochs, spec.checkpoint.every_steps) == (None, 50)
    assert how == {"resume": False, "replace": True}


def test_how_a_job_shows_itself() -> None:
    left_job()
    assert repr(attach("digits")) == "<Job digits: Succeeded, step 5000 of 5000, loss 1.831>"
    left_job("broken").status_file.write_text("{")
    assert repr(attach("broken")).startswith("<Job broken: ")


def test_the_package_alone_imports_neither_torch_nor_numpy() -> None:
    script = (
        "import sys, deepseek_operator\n"
        "assert 'deepseek_operator.client' not in sys.modules\n"
        "from deepseek_operator import run, attach\n"
        "print(*sorted({'torch', 'numpy', 'zmq', 'matplotlib'} & set(sys.modules)))"
    )
    environment = python_environment()
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
