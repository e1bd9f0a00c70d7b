"""Pods as an API server shows them: in every state that a kubelet, a scheduler or somebody's kubectl leaves them in."""

import copy
import json
from typing import Any

from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.executors.render.parts import Owner
from deepseek_operator.kube import Object
from deepseek_runtime.contract.names import CONTAINER, Member, member_name

CREATED = "2026-11-24T10:00:00Z"
STARTED = "2026-11-24T10:00:04Z"
ENDED = "2026-11-24T10:05:00Z"
MADE_AT = 1795514400.0
"""CREATED, seconds since the Unix epoch."""
OWNER = Owner("digits", "ml", "b8b8b8b8-1111-2222-3333-444444444444")


def cluster_job(**spec: Any) -> DeepseekJob:
    """2 servers, 3 workers; what is given laid over it, `servers` and `workers` key by key."""
    whole = {
        "image": "registry/x:1",
        "training": {"task": "deepseek_runtime.tasks.digits:Digits", "steps": 100},
        **spec,
        "servers": {"replicas": 2, **spec.get("servers", {})},
        "workers": {"replicas": 3, **spec.get("workers", {})},
    }
    return DeepseekJob.model_validate({"metadata": {"name": OWNER.name, "namespace": OWNER.namespace}, "spec": whole})


def pod(member: str = "worker-1-0", *, uid: str = "", node: str = "n1", **status: Any) -> Object:
    """Scheduled, and nothing else yet. status: of the pod; `node` empty: no node has taken it."""
    who = Member.parse(member)
    name = member_name(OWNER.name, who)
    spec: Object = {"containers": [{"name": CONTAINER, "image": "registry/x:1"}]}
    if node:
        spec["nodeName"] = node
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": OWNER.namespace,
            "uid": uid or f"uid-{member}",
            "creationTimestamp": CREATED,
            "labels": {
                "deepseek.dev/job": OWNER.name,
                "deepseek.dev/role": who.role,
                "deepseek.dev/index": str(who.index),
                "deepseek.dev/incarnation": str(who.incarnation),
                "deepseek.dev/generation": "g1",
            },
            "ownerReferences": [{"kind": "DeepseekJob", "uid": OWNER.uid, "controller": True}],
        },
        "spec": spec,
        "status": {"phase": "Pending", **status},
    }


def with_state(of: Object, phase: str, state: Object, **status: Any) -> Object:
    """The same pod, its container in `state`."""
    made = copy.deepcopy(of)
    known = made.get("status") or {}
    containers = [{"name": CONTAINER, "state": state}]
    made["status"] = {**known, "phase": phase, "containerStatuses": containers, **status}
    return made


def waiting(reason: str, message: str = "", of: Object | None = None, **status: Any) -> Object:
    state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
    return with_state(of or pod(), "Pending", state, **status)


def running(of: Object | None = None) -> Object:
    return with_state(of or pod(), "Running", {"running": {"startedAt": STARTED}})


def ended(code: int, reason: str = "", message: str = "", of: Object | None = None, **status: Any) -> Object:
    """`reason` empty: as containerd says it. The message: what the container wrote, or the end of its log."""
    terminated = {
        "exitCode": code,
        "reason": reason or ("Completed" if code == 0 else "Error"),
        "startedAt": STARTED,
        "finishedAt": ENDED,
        **({"message": message} if message else {}),
    }
    phase = "Succeeded" if code == 0 else "Failed"
    return with_state(of or pod(), phase, {"terminated": terminated}, **status)


def ending(of: Object) -> Object:
    """A pod whose container has ended and which does not say so itself yet, as a kubelet shows every pod at first."""
    made = copy.deepcopy(of)
    made["status"]["phase"] = "Running"
    return made


def deleted(of: Object) -> Object:
    """Somebody asked for its deletion."""
    made = copy.deepcopy(of)
    made["metadata"] |= {"deletionTimestamp": ENDED, "deletionGracePeriodSeconds": 30}
    return made


def condition(type_: str, status: str, reason: str = "", message: str = "", at: str = CREATED) -> Object:
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}


def record(code: int, reason: str, message: str = "", **fields: Any) -> str:
    return json.dumps({"code": code, "reason": reason, "message": message, **fields})
