"""What a pod says about the member in it: pure, from the object that the API server shows.

A pod ends once (restartPolicy Never). How it ended stands in its termination message as an ExitRecord; where there is
none, in the container's state, or in the pod's own reason (Evicted, refused by the kubelet, its node shut down).
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from deepseek_operator.reconcile.observe import MemberSeen, Obstacle
from deepseek_runtime.contract.exit_codes import CRASHED, OK
from deepseek_runtime.contract.names import (
    CONTAINER,
    LABEL_GENERATION,
    LABEL_INCARNATION,
    LABEL_INDEX,
    LABEL_KEPT,
    LABEL_ROLE,
    Member,
)
from deepseek_runtime.contract.records import ExitRecord

Pod = Mapping[str, Any]

SCHEDULES_WITHIN = 5.0
"""Seconds after which a pod that no node takes is told about: a node may just be getting free."""
MOUNTS_WITHIN = 20.0
"""Seconds that volumes and the network of a pod may take."""
CANNOT_MOUNT = "VolumeCannotBeMounted"

_PULL = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError")
_MAKE = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_SHUT_DOWN = ("Terminated", "NodeShutdown", "Shutdown")
_DISRUPTIONS = {
    "PreemptionByScheduler": "preempted by a pod of higher priority",
    "EvictionByEvictionAPI": "evicted, as when its node {node} is drained",
    "DeletionByTaintManager": "its node {node} is lost, or may not be used any more",
    "DeletionByPodGC": "its node {node} is gone",
}
"""Reasons of the condition DisruptionTarget, where nothing is wrong with the pod itself."""


def member_of(pod: Pod) -> Member | None:
    """By its labels; None: it is no member's, or nobody's any more."""
    labels = pod["metadata"].get("labels") or {}
    if LABEL_KEPT in labels:
        return None
    try:
        return Member.parse(f"{labels[LABEL_ROLE]}-{labels[LABEL_INDEX]}-{labels[LABEL_INCARNATION]}")
    except (KeyError, ValueError):
        return None


def sight(pod: Pod, member: Member, *, now: float, asked: bool = False, node_lost: bool = False) -> MemberSeen:
    """asked: it was our own plan that it leaves; now: seconds since the Unix epoch, when it is seen for the first time
    as it is, for what carries no time of its own."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    node = str((pod.get("spec") or {}).get("nodeName") or "")
    state = _state(status)
    ended = over(pod)
    running = not ended and "running" in state
    made = seconds(metadata.get("creationTimestamp")) or now
    exit, signal = _exit(status, state) if ended else (None, None)
    terminated = state.get("terminated") or {}
    return MemberSeen(
        member.role,
        member.index,
        member.incarnation,
        "gone" if ended else "running" if running else "starting",
        exit=exit,
        signal=signal,
        ended=(seconds(terminated.get("finishedAt")) or now) if ended else None,
        terminating=asked,
        node=node,
        started=str(metadata.get("creationTimestamp") or ""),
        since=(seconds((state.get("running") or {}).get("startedAt")) if running else None) or made,
        generation=str((metadata.get("labels") or {}).get(LABEL_GENERATION, "")),
        waiting=None if ended or running else _waiting(pod, member, state),
        node_lost=node_lost or node_silent(pod),
        disrupted="" if asked else _disrupted(pod, node),
    )


def vanished(known: MemberSeen, now: float) -> MemberSeen:
    """A pod that is not there any more although nobody saw it end: killed, by whoever deleted it."""
    if not known.alive:
        return known
    why = known.disrupted or ("" if known.terminating else "its pod was deleted by somebody else")
    return MemberSeen(
        known.role, known.index, known.incarnation, "gone",
        ended=now, terminating=known.terminating, node=known.node, started=known.started, since=known.since,
        generation=known.generation, node_lost=known.node_lost, disrupted=why,
    )  # fmt: skip


def node_silent(pod: Pod) -> bool:
    """Whether Kubernetes says that the pod's node says nothing any more: for installations that may not look at nodes.

    A kubelet makes both conditions of one cloth, since our pods have no readiness gates; its node's controller takes
    back the first alone (`MarkPodsNotReady`), and says no more of why.
    """
    status = pod.get("status") or {}
    return (_condition(status, "Ready").get("status"), _condition(status, "ContainersReady").get("status")) == (
        "False",
        "True",
    )


def failed(pod: Pod) -> bool:
    """Whether the pod ended badly: what people will want to look at."""
    status = pod.get("status") or {}
    return status.get("phase") == "Failed" or _code(_state(status).get("terminated")) != OK


def over(pod: Pod) -> bool:
    """Whether nothing runs in it any more: its container ends a moment before it says so itself."""
    status = pod.get("status") or {}
    return status.get("phase") in ("Succeeded", "Failed") or "terminated" in _state(status)


def seconds(stamp: object) -> float | None:
    """A time of Kubernetes as seconds since the Unix epoch."""
    try:
        return datetime.fromisoformat(str(stamp)).timestamp() if stamp else None
    except ValueError:
        return None


def _state(status: Mapping[str, Any]) -> Mapping[str, Any]:
    for container in status.get("containerStatuses") or []:
        if container.get("name") == CONTAINER:
            state = container.get("state") or {}
            return state if isinstance(state, Mapping) else {}
    return {}


def _condition(status: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    return next((c for c in status.get("conditions") or [] if c.get("type") == type_), {})


# --- how it ended ---------------------------------------------------------------------------------------------------


def _exit(status: Mapping[str, Any], state: Mapping[str, Any]) -> tuple[ExitRecord | None, int | None]:
    """The record, or the signal that killed it; neither: killed, nobody knows how."""
    terminated = state.get("terminated")
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    if reason == "Evicted":
        return ExitRecord(code=_code(terminated) or 137, reason=reason, message=message), None
    if terminated is None:
        # Never started: the kubelet refused it (UnexpectedAdmissionError, OutOfcpu, NodeAffinity ...).
        text = message or "the pod failed before its container started"
        return ExitRecord(code=CRASHED, reason=_word(reason, "NotStarted"), message=text), None
    code, said = _code(terminated), str(terminated.get("message") or "")
    if terminated.get("reason") == "OOMKilled":
        text = "out of memory: it used more than its limit; raise resources.limits.memory, or lower the batch size"
        return ExitRecord(code=code or 137, reason="OOMKilled", message=text), None
    record = _record(said)
    if record is not None:
        return record, None
    if terminated.get("reason") == "ContainerStatusUnknown" or (not code and status.get("phase") == "Failed"):
        return None, None
    if code > 128 and code - 128 < 65:
        return None, code - 128
    usual = "Finished" if code == OK else "Exited"
    return ExitRecord(code=code, reason=_word(terminated.get("reason"), usual), message=_last_words(said)), None


def _code(terminated: Mapping[str, Any] | None) -> int:
    return int((terminated or {}).get("exitCode") or 0)


def _word(reason: object, usual: str) -> str:
    return usual if reason in (None, "", "Completed", "Error") else str(reason)


def _record(message: str) -> ExitRecord | None:
    try:
        return ExitRecord.model_validate_json(message)
    except ValidationError:
        return None


def _last_words(message: str) -> str:
    """The end of the log, which stands for the message of a member that left none; log lines are JSON in pods."""
    return " / ".join([text for line in message.splitlines() if (text := _log_text(line))][-3:])


def _log_text(line: str) -> str:
    try:
        parsed = json.loads(line)
    except ValueError:
        return line.strip()
    text = parsed.get("message") if isinstance(parsed, dict) else None
    return str(text).strip() if text else line.strip()


def _disrupted(pod: Pod, node: str) -> str:
    metadata, status = pod["metadata"], pod.get("status") or {}
    target = _condition(status, "DisruptionTarget")
    if target.get("status") == "True" and target.get("reason") in _DISRUPTIONS:
        return _DISRUPTIONS[str(target["reason"])].format(node=node)
    reason = status.get("reason")
    if reason in _SHUT_DOWN and status.get("phase") == "Failed":
        return f"its node {node} was shut down"
    if reason in ("NodeLost", "Preempting"):
        return f"its node {node} is lost" if reason == "NodeLost" else f"its node {node} needed the room"
    return "its pod was deleted by somebody else" if metadata.get("deletionTimestamp") else ""


# --- why it does not start ------------------------------------------------------------------------------------------


def _waiting(pod: Pod, member: Member, state: Mapping[str, Any]) -> Obstacle | None:
    return next(_obstacles(pod, f"spec.{member.role}s", state), None)


def _obstacles(pod: Pod, field: str, state: Mapping[str, Any]) -> Iterator[Obstacle]:
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        since = seconds(scheduled.get("lastTransitionTime")) or seconds(pod["metadata"].get("creationTimestamp")) or 0.0
        yield Obstacle(
            "Unschedulable",
            f"no node takes its pod: {_sentence(scheduled.get('message'))}",
            f"Ask for less in {field}.resources.requests, mend nodeSelector, affinity or tolerations in {field}.pod, "
            "or add a node",
            since + SCHEDULES_WITHIN,
        )
    waiting = state.get("waiting") or {}
    reason, message = str(waiting.get("reason") or ""), _sentence(waiting.get("message"))
    if reason == "InvalidImageName":
        yield Obstacle("ImageCannotBePulled", f"{_image(pod)!r} is no name of an image", "Mend spec.image")
    elif reason in _PULL:
        yield Obstacle(
            "ImageCannotBePulled",
            f"the image {_image(pod)} cannot be pulled: {_pull_error(message) or reason}",
            f"Mend spec.image; if the registry asks who you are, name a Secret in {field}.pod.imagePullSecrets",
        )
    elif reason in _MAKE:
        yield Obstacle(
            "ContainerCannotBeMade",
            f"its container cannot be made: {message or reason}",
            f"Create what is missing, or mend {field}.pod; kubectl describe pod {name} says more",
        )
    elif _condition(status, "PodReadyToStartContainers").get("status") == "False":
        since = seconds(status.get("startTime")) or 0.0
        yield Obstacle(
            CANNOT_MOUNT,
            f"its volumes or its network are not ready after {MOUNTS_WITHIN:g} s",
            f"kubectl describe pod {name} says which; a Secret, a ConfigMap or a claim in {field}.pod.volumes may not "
            "exist",
            since + MOUNTS_WITHIN,
        )


def _image(pod: Pod) -> str:
    containers = (pod.get("spec") or {}).get("containers") or [{}]
    return str(containers[0].get("image") or "")


def _pull_error(message: str) -> str:
    """The cause, the same in ErrImagePull and in the ImagePullBackOff that takes turns with it."""
    return message.rpartition("ErrImagePull: ")[2] if "ErrImagePull: " in message else message


def _sentence(text: object) -> str:
    return " ".join(str(text or "").split()).rstrip(". ")
