"""Going on from a checkpoint, on real members: the job's own after a stop, and another job's."""

from pathlib import Path

import pytest

from builders.real_jobs import LINE, SLOW_TALLY, TALLY, Jobs, ended, events, reached, step_of, told, until
from chaos.check import violations
from deepseek_operator.api.status import JobStatus
from deepseek_operator.state_folder import StateFolder


def succeeded(folder: StateFolder) -> JobStatus:
    status = ended(folder)
    assert (status.phase, status.exit_code, status.restarts_total) == ("Succeeded", 0, 0), told(folder)
    return status


def test_stopped_and_resumed_with_other_numbers_of_servers(jobs: Jobs) -> None:
    training = {**TALLY, "task": "mine:Tally", "args": {"samples": 1024}, "steps": 1200}
    steps = 0
    for servers in (2, 1, 3):
        folder = jobs.start(training, code=SLOW_TALLY, servers=servers, workers=2, resume=steps > 0)
        if servers == 3:
            break
        until(folder, reached(steps + 200))
        folder.request_stop()
        status = ended(folder)
        assert (status.phase, status.exit_code) == ("Suspended", None), told(folder)
        steps = step_of(status)
    status = succeeded(folder)
    assert status.term.number == 3
    assert f"term 3: 3 servers, from checkpoint of step {steps}" in events(status, "TermOpened")
    assert violations(folder, dense=True) == []


@pytest.fixture
def before(jobs: Jobs) -> StateFolder:
    """A finished job of 200 steps."""
    folder = jobs.start({**TALLY, "args": {"samples": 1024}, "steps": 200}, name="before", servers=2)
    succeeded(folder)
    return folder


def test_restore_from_another_job(jobs: Jobs, before: StateFolder) -> None:
    """The same data: it goes on where the other ended. Others in the manifest: only the weights are taken."""
    source = {"restoreFrom": str(before.checkpoints)}
    folder = jobs.start({**TALLY, "args": {"samples": 1024}, "steps": 400}, name="same", checkpoint=source, workers=2)
    other = {**TALLY, "args": {"samples": 1024}, "steps": 96, "batchSize": 32}
    weights_only = jobs.start(other, name="other", checkpoint=source)
    status = succeeded(folder)
    assert events(status, "TermOpened") == ["term 1: 1 servers, from checkpoint of step 200"]
    assert not events(status, "WeightsOnly")
    assert violations(folder, dense=True) == []
    status = succeeded(weights_only)
    assert events(status, "TermOpened") == ["term 1: 1 servers, from checkpoint of step 0"]
    (text,) = events(status, "WeightsOnly")
    assert "batchSize" in text
    assert step_of(status) == 96
    # 3,072 samples of 1,024 in batches of 32, on top of 3,200 in batches of 16: the last quarter counts once less
    metrics = status.progress.metrics if status.progress else {}
    assert metrics["mean"] == pytest.approx((200 * 16 + 96 * 32) / 1024)


def test_restore_from_a_model_that_differs(jobs: Jobs, before: StateFolder) -> None:
    folder = jobs.start(
        {"task": "mine:Line", "steps": 50}, code=LINE, checkpoint={"restoreFrom": str(before.checkpoints)}
    )
    status = ended(folder)
    assert (status.phase, status.exit_code) == ("Failed", 65), told(folder)
    assert status.last_failure is not None
    assert status.last_failure.reason == "ModelsDiffer"
    assert "the checkpoint a job goes on from" in status.message


def test_restore_from_one_index(jobs: Jobs, before: StateFolder, tmp_path: Path) -> None:
    index = next(before.checkpoints.glob("t*/step-200/index.json"))
    folder = jobs.start(
        {**TALLY, "args": {"samples": 1024}, "steps": 240}, checkpoint={"restoreFrom": str(index)}, servers=2
    )
    assert events(succeeded(folder), "TermOpened") == ["term 1: 2 servers, from checkpoint of step 200"]
    assert violations(folder, dense=True) == []
