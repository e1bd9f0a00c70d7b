"""An unchanged world is not written to, whoever looks at it."""

import time
from datetime import UTC, datetime
from typing import Any

from testcluster.audit import Write


def writes(place: Any, since: datetime) -> list[Write]:
    """Of this namespace's operators, the Lease aside."""
    return [
        write
        for write in place.cluster.writes(since=since)
        if write.namespace == place.namespace
        and write.client.startswith("deepseek-operator")
        and write.resource != "leases"
    ]


def test_nothing_is_written_while_nothing_changes_nor_by_whoever_takes_over(place: Any) -> None:
    first = place.operator("first", resync_seconds="2")
    job = place.submit()
    with place.puppets(job):
        place.phase("Running")
        time.sleep(7.0)  # what only tells progress may have waited
        before, since = place.pods(), datetime.now(UTC)
        time.sleep(10.0)
        assert writes(place, since) == []
        first.kill()
        second = place.operator("second")
        second.leads()
        time.sleep(10.0)
        assert writes(place, since) == []
        assert place.pods() == before


def test_progress_is_told_no_more_often_than_the_budget_allows_and_never_lost(place: Any) -> None:
    place.operator("one")
    job = place.submit()
    with place.puppets(job) as puppets:
        place.phase("Running")
        since = datetime.now(UTC)
        for step in range(1, 41):
            puppets.step = step
            time.sleep(0.25)
        time.sleep(7.0)
        assert place.job()["status"]["columns"]["step"] == "40/1000"
        told = [write for write in writes(place, since) if write.resource == "deepseekjobs/status"]
        assert 1 <= len(told) <= 5
