"""One replica acts at a time, and nothing of one that was deposed lands."""

import signal
import time
from datetime import UTC, datetime
from typing import Any


def landed(place: Any, replica: str, since: datetime) -> list[Any]:
    return [
        write
        for write in place.cluster.writes(since=since)
        if write.namespace == place.namespace and f"({replica})" in write.client and write.code < 300
    ]


def test_a_leader_that_was_stopped_writes_nothing_when_it_wakes(place: Any) -> None:
    first = place.operator("first")
    first.leads()
    second = place.operator("second")
    job = place.submit()
    with place.puppets(job):
        place.phase("Running")
        first.process.send_signal(signal.SIGSTOP)
        second.leads()
        since = datetime.now(UTC)
        place.cluster.kubectl("scale", "deepseekjob/digits", "-n", place.namespace, "--replicas=3")
        place.phase("Running")
        first.process.send_signal(signal.SIGCONT)
        place.cluster.kubectl("scale", "deepseekjob/digits", "-n", place.namespace, "--replicas=4")
        assert first.process.wait(30) == 1
        deadline = time.monotonic() + 30
        while len(place.pods()) < 6:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert landed(place, "first", since) == []
        assert not second.said("leadership")
        lease = place.cluster.get("lease", f"deepseek-operator-{place.namespace}", "-n", place.namespace)
        assert lease["spec"]["holderIdentity"] == "second"


def test_a_leader_that_is_ended_gives_the_lease_back(place: Any) -> None:
    first = place.operator("first")
    first.leads()
    second = place.operator("second")
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(15) == 0
    assert first.said("leadership given back")
    second.leads()


def test_started_again_in_the_same_pod_it_leads_at_once(place: Any) -> None:
    place.operator("pod-uid").leads()
    place.replicas[0].kill()
    began = time.monotonic()
    place.operator("pod-uid").leads()
    lease = place.cluster.get("lease", f"deepseek-operator-{place.namespace}", "-n", place.namespace)
    assert lease["spec"]["leaseTransitions"] == 0
    assert time.monotonic() - began < 60
