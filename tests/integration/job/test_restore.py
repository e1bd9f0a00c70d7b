"""Going on from a checkpoint, on real members: the job's own after a stop, and another job's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from builders.real_jobs import LINE, TALLY, Jobs, ended, events, reached, step_of, told, until
from chaos.check import violations
from deepseek_operator.api.status import JobStatus
from deepseek_operator.state_folder import StateFolder


def succeeded(folder: StateFolder) -> JobStatus:
    status = ended(folder)
    assert (status.phase, status.exit_code, status.restarts_total) == ("Succeeded", 0, 0), told(folder)
    return status


def test_stopped_and_resumed_with_other_numbers_of_servers(jobs: Jobs) -> None:
    steps = 0
    for servers in (2, 1, 3):
        folder = jobs.start_slowly(1200, servers=servers, workers=2, resume=steps > 0)
        if servers == 3:
            break
        until(folder, reached(steps + 200))
        folder.request_stop()
        status = ended(folder)
        assert (status.phase, status.exit_code) == ("Suspended", None), told(folder)
        steps = step_of(status)
    jobs.hurry()
    status = succeeded(folder)
    assert status.term.number == 3
    assert f"term 3: 3 servers, from checkpoint of step {steps}" in events(status, "TermOpened")
    assert violations(folder, dense=True) == []


def test_restore_from_another_job(jobs: Jobs, subtests: pytest.Subtests) -> None:
    """With the same data it goes on where the other ended; else with its weights alone, if the model is the same."""
    tally = {**TALLY, "args": {"samples": 1024}}
    before = jobs.start({**tally, "steps": 200}, name="before", servers=2)
    succeeded(before)
    index = next(before.checkpoints.glob("t*/step-200/index.json"))

    def start(name: str, source: Path | str, training: Mapping[str, Any], **more: Any) -> StateFolder:
        return jobs.start(training, name=name, checkpoint={"restoreFrom": str(source)}, **more)

    goes_on = start("goes-on", before.checkpoints, {**tally, "steps": 400}, workers=2)
    by_name = start("by-name", "job://before", {**tally, "steps": 240}, servers=2)
    one_index = start("one-index", index, {**tally, "steps": 240}, servers=2)
    other_batches = start("other-batches", before.checkpoints, {**tally, "steps": 96, "batchSize": 32})
    other_model = start("other-model", before.checkpoints, {"task": "mine:Line", "steps": 50}, code=LINE)

    with subtests.test("the same data"):
        status = succeeded(goes_on)
        assert events(status, "TermOpened") == ["term 1: 1 servers, from checkpoint of step 200"]
        assert not events(status, "WeightsOnly")
        assert violations(goes_on, dense=True) == []
    with subtests.test("the same data, by the job's name"):
        status = succeeded(by_name)
        assert events(status, "TermOpened") == ["term 1: 2 servers, from checkpoint of step 200"]
        assert violations(by_name, dense=True) == []
    with subtests.test("one index"):
        status = succeeded(one_index)
        assert events(status, "TermOpened") == ["term 1: 2 servers, from checkpoint of step 200"]
        assert violations(one_index, dense=True) == []
    with subtests.test("another batchSize"):
        status = succeeded(other_batches)
        assert events(status, "TermOpened") == ["term 1: 1 servers, from checkpoint of step 0"]
        (text,) = events(status, "WeightsOnly")
        assert "batchSize" in text
        assert step_of(status) == 96
        metrics = status.progress.metrics if status.progress else {}
        assert metrics["mean"] == pytest.approx((200 * 16 + 96 * 32) / 1024)
    with subtests.test("another model"):
        status = ended(other_model)
        assert (status.phase, status.exit_code) == ("Failed", 65), told(other_model)
        assert status.last_failure is not None
        assert status.last_failure.reason == "ModelsDiffer"
        assert "the checkpoint a job goes on from" in status.message
