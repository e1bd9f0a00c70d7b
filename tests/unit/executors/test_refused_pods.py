"""What cannot be made or cannot start, and an API server that fails: told, and tried again."""

from typing import Any

import pytest

from builders.executor import S0, S1, W0, Cluster
from builders.pods import ended, running, waiting
from deepseek_operator.api.status import JobStatus
from deepseek_operator.kube import (
    PODS,
    Exists,
    Forbidden,
    Invalid,
    NotLeading,
    Unreachable,
)
from deepseek_operator.reconcile.plan import Plan


@pytest.mark.parametrize("error", [Forbidden('exceeded quota: "q"'), Invalid("spec.x: Invalid value")])
def test_a_pod_that_is_refused_blocks_and_is_tried_again(error: Exception) -> None:
    cluster = Cluster()
    cluster.server.refuse["create pods"] = [error]  # type: ignore[list-item]
    cluster.apply(create=(S0, S1))
    seen = cluster.seen()
    assert [(one.made, one.phase) for one in seen.values()] == [(False, "starting")] * 2
    waiting = seen["server-0-0"].waiting
    assert waiting is not None
    assert waiting.reason == "PodRefused"
    assert str(error) in waiting.message
    cluster.time += 5.0
    cluster.create(S0, S1)
    assert all(one.made and one.waiting is None for one in cluster.seen().values())


def test_an_api_server_that_does_not_answer_blocks_nothing_yet() -> None:
    cluster = Cluster()
    cluster.server.refuse["create configmaps"] = [Unreachable("no answer")]
    cluster.apply(create=(S0,))
    assert (cluster.seen()["server-0-0"].made, cluster.seen()["server-0-0"].waiting) == (False, None)
    assert cluster.apply(create=(S0,))[-1] == "create pods digits-server-0-0"


def test_a_create_whose_answer_was_lost() -> None:
    cluster = Cluster()
    cluster.apply(create=(S0,))
    again = cluster.another()
    again.apply(Plan(JobStatus(), create=(S0,)))
    assert cluster.phases() == {"server-0-0": "starting"}
    assert cluster.server.names(PODS) == ["digits-server-0-0"]


def test_a_pod_of_that_name_that_is_somebody_else_s() -> None:
    cluster = Cluster()
    other = running()
    other["metadata"] |= {"name": "digits-server-0-0", "ownerReferences": [{"uid": "another"}]}
    cluster.server.put(other)
    cluster.apply(create=(S0,))
    blocked = cluster.seen()["server-0-0"].waiting
    assert blocked is not None
    assert "not this job's" in blocked.message


def test_one_that_could_not_be_made_is_forgotten_when_nobody_wants_it() -> None:
    for act in ("terminate", "delete"):
        cluster = Cluster()
        cluster.server.refuse["create pods"] = [Forbidden("no")]
        cluster.apply(create=(W0,))
        acts: dict[str, Any] = {act: (W0,)}
        assert cluster.apply(**acts) == []
        assert cluster.phases() == {}


def test_a_deposed_leader_stops() -> None:
    cluster = Cluster()
    cluster.server.refuse["create pods"] = [NotLeading("not any more")]
    with pytest.raises(NotLeading):
        cluster.apply(create=(S0,))
    assert cluster.phases() == {}


def test_a_delete_that_fails_is_planned_again() -> None:
    cluster = Cluster()
    cluster.run(W0)
    cluster.becomes(W0, lambda pod: ended(0, of=pod))
    cluster.executor.observe()
    cluster.server.refuse["delete pods"] = [Unreachable("no answer")]
    with pytest.raises(Unreachable):
        cluster.apply(delete=(W0,))
    assert cluster.phases() == {"worker-0-0": "gone"}


def test_an_unknown_name_is_refused_by_the_server_alone() -> None:
    """Exists is success for a pod of our own only (see above); for ConfigMaps the name has the job's uid in it."""
    cluster = Cluster()
    cluster.server.refuse["create configmaps"] = [Exists("there already")]
    assert cluster.apply(create=(S0,))[-1] == "create pods digits-server-0-0"


def test_a_mount_that_hangs_is_told_in_the_kubelet_s_words() -> None:
    cluster = Cluster()
    cluster.create(S0)
    stuck = {"type": "PodReadyToStartContainers", "status": "False"}
    late: dict[str, Any] = {"startTime": "2026-11-24T10:00:00Z", "conditions": [stuck]}
    cluster.becomes(S0, lambda pod: waiting("ContainerCreating", of=pod, **late))
    uid = cluster.shown[0]["metadata"]["uid"]
    about = {"involvedObject": {"uid": uid}, "lastTimestamp": "2026-11-24T10:00:10Z"}
    cluster.server.events = [
        {**about, "reason": "Scheduled", "message": "Successfully assigned"},
        {**about, "reason": "FailedMount", "message": 'MountVolume.SetUp failed for "x": secret "y" not found'},
    ]
    for _ in range(3):
        told = cluster.seen()["server-0-0"].waiting
        assert told is not None
        assert told.message == 'MountVolume.SetUp failed for "x": secret "y" not found'
    assert cluster.server.reads.count("list events") == 1
    cluster.time += 20.0
    cluster.executor.observe()
    assert cluster.server.reads.count("list events") == 2
