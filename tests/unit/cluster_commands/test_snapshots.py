"""A DeepseekJob as the API server has it, as people are shown it."""

from typing import Any

import pytest

from builders import snapshots
from builders.job_server import CREATED, JobServer
from builders.snapshots import condition
from deepseek_operator.api.status import JobStatus
from deepseek_operator.cli.following import code_of
from deepseek_operator.jobs_in_cluster import job_event, snapshot
from deepseek_operator.view.amounts import seconds_of
from deepseek_operator.view.sentence import why

SUSPENDED = condition("Suspended", "Suspended")
MEMBERS = snapshots.members()


def shown(status: JobStatus | None, generation: int = 1, now: float = 0.0, **spec: Any) -> Any:
    item = JobServer().job(status, **spec)
    item["metadata"]["generation"] = generation
    return snapshot(item, (), now or snapshots.NOW)


@pytest.mark.parametrize(
    "status,generation,spec,attended,code",
    [
        (None, 1, {}, True, 0),
        (JobStatus(phase="Running", members=MEMBERS), 1, {}, True, 0),
        (JobStatus(phase="Succeeded", finished="2023-11-14T22:13:20Z", exit_code=0, members=MEMBERS), 1, {}, True, 0),
        (JobStatus(phase="Succeeded", finished="2023-11-14T22:13:20Z", exit_code=0), 1, {}, False, 0),
        (JobStatus(phase="Failed", finished="2023-11-14T22:13:20Z", exit_code=65), 1, {}, False, 65),
        (JobStatus(conditions=(SUSPENDED,), observed_generation=2), 2, {"suspend": True}, False, 75),
        (JobStatus(conditions=(SUSPENDED,), observed_generation=1), 2, {"suspend": True}, True, 0),
        (JobStatus(conditions=(SUSPENDED,), observed_generation=2), 3, {"suspend": False}, True, 0),
        (JobStatus(conditions=(SUSPENDED,), observed_generation=2, members=MEMBERS), 2, {"suspend": True}, True, 0),
    ],
)
def test_whether_more_is_to_come(
    status: JobStatus | None, generation: int, spec: dict[str, Any], attended: bool, code: int
) -> None:
    shot = shown(status, generation, **spec)
    assert (shot.attended, code_of(shot), shot.abandoned) == (attended, code, False)


def test_a_job_that_no_operator_looks_at_says_so() -> None:
    born = seconds_of(CREATED)
    assert born is not None
    assert why(shown(None, now=born + 5)).sentence == "digits is pending"
    late = why(shown(None, now=born + 40)).sentence
    assert late == (
        "digits is pending: no operator has looked at it for 40 s: is one installed that watches this namespace?"
    )


def test_a_status_that_cannot_be_read_is_no_end_of_a_table() -> None:
    item = JobServer().job()
    item["status"] = {"phase": "Running", "workers": "three"}
    assert snapshot(item, (), snapshots.NOW).phase == "Unreadable"


@pytest.mark.parametrize(
    "fields,time,count",
    [
        ({"lastTimestamp": "2026-01-01T00:00:02Z", "count": 3}, "2026-01-01T00:00:02Z", 3),
        ({"lastTimestamp": None, "eventTime": "2026-01-01T00:00:03.5Z"}, "2026-01-01T00:00:03.5Z", 1),
        ({"series": {"lastObservedTime": "2026-01-01T00:00:04Z", "count": 7}}, "2026-01-01T00:00:04Z", 7),
        ({}, "2026-01-01T00:00:00Z", 1),
    ],
)
def test_events_of_whichever_api(fields: dict[str, Any], time: str, count: int) -> None:
    item = {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "reason": "Created", "message": "m", **fields}
    event = job_event(item)
    assert (event.time, event.count, event.type, event.reason) == (time, count, "Normal", "Created")
