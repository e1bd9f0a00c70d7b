"""What stands at the end of a run, `dsj status`, and the table of jobs: golden texts."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from builders import snapshots
from deepseek_operator.api.status import JobStatus
from deepseek_operator.view.report import job_report, jobs_table
from deepseek_operator.view.snapshot import Snapshot
from deepseek_operator.view.summary import next_steps, summary, summary_json

GOLDEN = Path(__file__).parent / "golden"
TEXTS = {
    "summary-succeeded": summary(snapshots.succeeded(), 0),
    "summary-failed": summary(snapshots.failed(), 65),
    "summary-suspended": summary(snapshots.suspended(), 130),
    "summary-restarting": summary(snapshots.restarting(), 0),
    "report-running": job_report(snapshots.restarting()),
    "report-failed": job_report(snapshots.failed()),
    "jobs": jobs_table(
        [
            snapshots.snapshot(),
            replace(snapshots.failed(), name="a-much-longer-name"),
            replace(snapshots.snapshot(), name="lost", attended=False),
            Snapshot("new", JobStatus(), snapshots.NOW),
        ]
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text(name: str) -> None:
    assert "\n".join(TEXTS[name]) + "\n" == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_json_of_the_end() -> None:
    said = json.loads(json.dumps(summary_json(snapshots.failed(), 65)))
    assert (said["type"], said["phase"], said["exitCode"]) == ("end", "Failed", 65)
    assert said["lastFailure"]["exitCode"] == 65
    assert said["checkpoints"] == "/state/dsj/digits/checkpoints"
    assert json.loads(json.dumps(summary_json(snapshots.succeeded(), 0)))["seconds"] == 31.0


def test_next_steps_fit_the_state() -> None:
    assert next_steps(snapshots.succeeded())[0] == "dsj export digits"
    assert next_steps(snapshots.failed())[0] == "dsj why digits"
    assert next_steps(snapshots.suspended())[0] == "dsj run --resume digits"
    assert next_steps(replace(snapshots.suspended(), attended=True))[0] == "dsj watch digits"
    orphaned = replace(snapshots.snapshot(), attended=False, members_live=True)
    assert next_steps(orphaned)[:2] == ["dsj run --resume digits", "dsj stop digits"]
    assert next_steps(snapshots.snapshot())[0] == "dsj watch digits"
