"""What a pod says: every state that one can be in, and what it means for the member."""

from typing import Any

import pytest

from builders.pods import (
    CREATED,
    MADE_AT,
    condition,
    deleted,
    ended,
    pod,
    record,
    running,
    waiting,
    with_state,
)
from deepseek_operator.executors.sight import member_of, sight, vanished
from deepseek_operator.kube import Object
from deepseek_operator.reconcile.observe import MemberSeen
from deepseek_runtime.contract.names import Member

WORKER = Member("worker", 1, 0)
NOW = MADE_AT + 1000.0


def look(of: Object, **given: Any) -> MemberSeen:
    return sight(of, WORKER, now=NOW, **given)


def test_who_it_is() -> None:
    assert member_of(pod("server-2-7")) == Member("server", 2, 7)
    kept = pod()
    kept["metadata"]["labels"]["deepseek.dev/kept"] = "true"
    assert member_of(kept) is None
    for label, value in (("role", "boss"), ("index", "x"), ("incarnation", "")):
        strange = pod()
        strange["metadata"]["labels"][f"deepseek.dev/{label}"] = value
        assert member_of(strange) is None
    bare = pod()
    del bare["metadata"]["labels"]
    assert member_of(bare) is None


def test_running() -> None:
    seen = look(running())
    assert (seen.phase, seen.node, seen.started, seen.generation) == ("running", "n1", CREATED, "g1")
    assert seen.since == MADE_AT + 4.0, "it can register since its container runs"
    assert (seen.waiting, seen.disrupted, seen.exit, seen.ended) == (None, "", None, None)


@pytest.mark.parametrize(
    "of",
    [
        pod(node=""),
        pod(),
        {**pod(), "status": {}},
        waiting("ContainerCreating"),
        waiting("ContainerCreating", conditions=[condition("PodReadyToStartContainers", "True")]),
        pod(node="", conditions=[condition("PodScheduled", "False", "SchedulingGated")]),
    ],
)
def test_starting_without_trouble(of: Object) -> None:
    seen = look(of)
    assert (seen.phase, seen.waiting, seen.since) == ("starting", None, MADE_AT)


UNSCHEDULABLE = "0/2 nodes are available: 2 Insufficient memory. preemption: 0/2 nodes are available."
BACK_OFF = (
    'Back-off pulling image "registry/x:1": ErrImagePull: rpc error: code = NotFound desc = registry/x:1: not found'
)


@pytest.mark.parametrize(
    "of,reason,words",
    [
        (
            pod(node="", conditions=[condition("PodScheduled", "False", "Unschedulable", UNSCHEDULABLE)]),
            "Unschedulable",
            "2 Insufficient memory",
        ),
        (
            waiting("ErrImagePull", "rpc error: code = NotFound desc = registry/x:1: not found"),
            "ImageCannotBePulled",
            "registry/x:1 cannot be pulled: rpc error",
        ),
        (waiting("ImagePullBackOff", BACK_OFF), "ImageCannotBePulled", "registry/x:1 cannot be pulled: rpc error"),
        (waiting("ErrImageNeverPull"), "ImageCannotBePulled", "cannot be pulled: ErrImageNeverPull"),
        (waiting("InvalidImageName", "couldn't parse image"), "ImageCannotBePulled", "no name of an image"),
        (
            waiting("CreateContainerConfigError", 'secret "s3" not found'),
            "ContainerCannotBeMade",
            'secret "s3" not found',
        ),
        (waiting("RunContainerError", "failed to create shim task"), "ContainerCannotBeMade", "failed to create shim"),
        (
            waiting(
                "ContainerCreating", startTime=CREATED, conditions=[condition("PodReadyToStartContainers", "False")]
            ),
            "VolumeCannotBeMounted",
            "its volumes or its network are not ready",
        ),
    ],
)
def test_what_keeps_it_from_starting(of: Object, reason: str, words: str) -> None:
    seen = look(of)
    assert seen.phase == "starting"
    assert seen.waiting is not None
    assert seen.waiting.reason == reason
    assert words in seen.waiting.message
    assert seen.waiting.remedy
    assert seen.waiting.after <= NOW


def test_errors_that_take_turns_are_told_alike() -> None:
    first = look(waiting("ErrImagePull", "rpc error: code = NotFound desc = registry/x:1: not found"))
    assert look(waiting("ImagePullBackOff", BACK_OFF)).waiting == first.waiting


def test_a_node_may_just_be_getting_free() -> None:
    at = "2026-11-24T10:16:39Z"
    seen = look(pod(node="", conditions=[condition("PodScheduled", "False", "Unschedulable", "none", at)]))
    assert seen.waiting is not None
    assert seen.waiting.after == NOW + 4.0


OOM = "out of memory: it used more than its limit"


@pytest.mark.parametrize(
    "of,code,reason,message,signal",
    [
        (ended(0, message=record(0, "Finished")), 0, "Finished", "", None),
        (ended(0, message=record(0, "Drained")), 0, "Drained", "", None),
        (ended(0), 0, "Finished", "", None),
        (ended(65, message=record(65, "UserCodeRaised", "train.py line 3")), 65, "UserCodeRaised", "train.py", None),
        (ended(1), 1, "Exited", "", None),
        (
            ended(1, message='{"time":"t","level":"ERROR","message":"boom"}\nTraceback\nValueError: x\n'),
            1,
            "Exited",
            "boom / Traceback / ValueError: x",
            None,
        ),
        (ended(137), None, "", "", 9),
        (ended(139), None, "", "", 11),
        (ended(137, "OOMKilled"), 137, "OOMKilled", OOM, None),
        (ended(137, "ContainerStatusUnknown", "The container could not be located"), None, "", "", None),
        (ended(128, "StartError", 'exec: "python": not found'), 128, "StartError", 'exec: "python"', None),
        (
            with_state(pod(), "Failed", {}, reason="Evicted", message="The node was low on resource: memory."),
            137, "Evicted", "The node was low", None,
        ),
        (
            pod(phase="Failed", reason="UnexpectedAdmissionError", message="Allocate failed: no gpu"),
            1, "UnexpectedAdmissionError", "Allocate failed", None,
        ),
        (pod(phase="Failed", reason="OutOfcpu", message="Node didn't have enough cpu"), 1, "OutOfcpu", "Node", None),
        (pod(phase="Failed"), 1, "NotStarted", "the pod failed before its container started", None),
    ],
)  # fmt: skip
def test_how_it_ended(of: Object, code: int | None, reason: str, message: str, signal: int | None) -> None:
    seen = look(of)
    assert seen.phase == "gone"
    assert seen.signal == signal
    assert seen.disrupted == ""
    if code is None:
        assert seen.exit is None
    else:
        assert seen.exit is not None
        assert (seen.exit.code, seen.exit.reason) == (code, reason)
        assert message in seen.exit.message


def test_when_it_ended() -> None:
    assert look(ended(1)).ended == MADE_AT + 300.0
    assert look(pod(phase="Failed")).ended == NOW, "what carries no time ended when it was seen"


def test_a_container_that_has_ended_has_though_its_pod_does_not_say_so_yet() -> None:
    made = ended(1)
    made["status"]["phase"] = "Running"
    assert look(made).phase == "gone"


DISRUPTED = [
    (deleted(running()), "its pod was deleted by somebody else"),
    (deleted(ended(0, message=record(0, "Drained"))), "its pod was deleted by somebody else"),
    (
        with_state(pod(), "Failed", {}, reason="Terminated", message="imminent node shutdown"),
        "its node n1 was shut down",
    ),
    (with_state(pod(), "Failed", {}, reason="NodeLost"), "its node n1 is lost"),
]
TARGETS = {
    "PreemptionByScheduler": "preempted by a pod of higher priority",
    "EvictionByEvictionAPI": "evicted, as when its node n1 is drained",
    "DeletionByTaintManager": "its node n1 is lost, or may not be used any more",
    "DeletionByPodGC": "its node n1 is gone",
}
DISRUPTED += [
    (
        deleted(with_state(pod(), "Running", {"running": {}}, conditions=[condition("DisruptionTarget", "True", why)])),
        text,
    )
    for why, text in TARGETS.items()
]


@pytest.mark.parametrize("of,why", DISRUPTED)
def test_what_is_nobodys_fault(of: Object, why: str) -> None:
    assert look(of).disrupted == why


def test_who_was_asked_is_not_disrupted() -> None:
    seen = look(deleted(running()), asked=True)
    assert (seen.terminating, seen.disrupted) == (True, "")


def test_an_eviction_by_the_kubelet_counts() -> None:
    """It used more than it asked for; without a count it would go round for ever."""
    target = condition("DisruptionTarget", "True", "TerminationByKubelet")
    assert look(with_state(pod(), "Failed", {}, reason="Evicted", conditions=[target])).disrupted == ""


def test_a_pod_that_is_not_there_any_more() -> None:
    gone = vanished(look(running()), NOW)
    assert (gone.phase, gone.exit, gone.ended) == ("gone", None, NOW)
    assert gone.disrupted == "its pod was deleted by somebody else"
    assert vanished(look(running(), asked=True), NOW).disrupted == ""
    assert vanished(look(deleted(running()), asked=True), NOW).terminating
    failed = look(ended(1))
    assert vanished(failed, NOW + 9.0) == failed, "how it ended is known"


def test_a_lost_node_is_told() -> None:
    assert look(running(), node_lost=True).node_lost
    assert not look(running()).node_lost


@pytest.mark.parametrize(
    "ready, containers, lost", [("True", "True", False), ("False", "False", False), ("False", "True", True)]
)
def test_a_node_that_says_nothing_is_seen_by_its_pods_alone(ready: str, containers: str, lost: bool) -> None:
    """As Kubernetes 1.34 left them 50 s after a node's end: an installation for some namespaces sees no nodes."""
    of = running()
    of["status"]["conditions"] = [condition("Ready", ready), condition("ContainersReady", containers)]
    assert look(of).node_lost is lost
