"""While a job trains, its operator writes its Lease and how far the job is; nor does one that is killed write more."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from builders.operator_writes import written
from builders.releases import NAME, Job, Release, step_of


@pytest.fixture(scope="module")
def job(release: Release) -> Iterator[Job]:
    """One that trains, and would for long, of which all is said that there is to say of its start."""
    found = release.submit("unchanged", lambda spec: spec["training"].update(steps=10_000_000))
    found.until(lambda s: s.phase == "Running" and s.workers.ready == 3 and step_of(s) > 1000, "all at work")
    yield found
    release.kubectl("delete", "deepseekjob", "unchanged", "--timeout=60s", timeout=90.0)


@pytest.mark.parametrize("seconds", [20, pytest.param(600, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_nothing_but_progress_is_written(job: Job, seconds: int) -> None:
    pods, since, step = members(job), datetime.now(UTC), step_of(job.status())
    time.sleep(seconds)  # the thing itself: a time in which nothing happens
    others, progress = written(job.release, since)
    assert others == []
    assert progress >= 1
    assert step_of(job.status()) > step
    assert members(job) == pods


@pytest.mark.parametrize("who", ["leader", "all"])
def test_an_operator_that_is_killed_and_started_again_writes_nothing_more(job: Job, who: str) -> None:
    release = job.release
    pods, since, step = members(job), datetime.now(UTC), step_of(job.status())
    before = operators(release)
    killed = [release.leader()] if who == "leader" else list(before)
    for name in killed:
        release.cluster.signal(release.namespace, name, "operator")
    job.until(
        lambda s: all(operators(release)[name] == (before[name][0] + 1, True) for name in killed),
        "the operator is started again",
    )
    lease = f"deepseek-operator-{NAME}"
    taken = datetime.now(UTC)
    job.until(
        lambda s: any(w.name == lease and w.at > taken for w in release.cluster.writes(since=taken, user=release.user)),
        "somebody leads",
    )
    later = job.until(lambda s: step_of(s) > step + 1000, "progress is told again")
    others, progress = written(release, since)
    assert others == []
    assert progress
    assert members(job) == pods
    assert (later.term.number, later.restarts_total) == (1, 0)


def members(job: Job) -> dict[str, tuple[str, int]]:
    """Seat -> uid of its pod, and how often its container was started again."""
    return {
        seat: (pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"])
        for seat, pod in job.pods().items()
    }


def operators(release: Release) -> dict[str, tuple[int, bool]]:
    """Name of a pod -> how often the operator was started again in it, and whether it is ready."""
    items: list[dict[str, Any]] = release.get("pods", "--selector=app.kubernetes.io/component=operator")["items"]
    return {
        pod["metadata"]["name"]: (status["restartCount"], status["ready"])
        for pod in items
        for status in pod["status"].get("containerStatuses", [])
    }
