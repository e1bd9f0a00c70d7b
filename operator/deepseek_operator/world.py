"""What the watches brought: the jobs, their members' pods and the nodes, as the API server last showed them.

Thread-safe. Objects are shared and must not be changed by those who read them. A watch can miss that an object was
deleted (when it has to list anew), so a listing replaces what is held: `replace` takes away what was there before the
listing began and is not in it.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from deepseek_operator.kube import NODES, PODS, Object, Resource
from deepseek_runtime.contract.names import KIND

Key = tuple[str, str]
"""Namespace and name."""


class World:
    """`changed` is called with the uid of the job that an event concerns, from any thread; it must be cheap."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._lock = threading.Lock()
        self._jobs: dict[Key, Object] = {}
        self._pods: dict[Key, Object] = {}
        self._nodes: dict[Key, Object] = {}
        self._uids: dict[str, Key] = {}
        """Of a job -> where it is in _jobs."""
        self._members: dict[str, dict[Key, Object]] = {}
        """uid of a job -> its pods."""

    def put(self, resource: Resource, item: Object) -> None:
        """An object as it is now; an older state of the same object than the one held is passed over."""
        with self._lock:
            rung = self._put(resource, item)
        self._ring(rung)

    def drop(self, resource: Resource, item: Object) -> None:
        """An object that was deleted, unless another one has its name by now."""
        with self._lock:
            held = self._of(resource).get(key(item))
            rung = self._take(resource, key(item)) if held is not None and uid(held) == uid(item) else set()
        self._ring(rung)

    def names(self, resource: Resource) -> dict[Key, str]:
        """Before a listing: the uids of what is held."""
        with self._lock:
            return {at: uid(item) for at, item in self._of(resource).items()}

    def replace(self, resource: Resource, before: Mapping[Key, str], items: Iterable[Object]) -> None:
        """What a listing brought; `before` is `names` from before it began."""
        rung: set[str] = set()
        listed = {key(item): item for item in items}
        with self._lock:
            for at, was in before.items():
                held = self._of(resource).get(at)
                if held is not None and uid(held) == was and (at not in listed or uid(listed[at]) != was):
                    rung |= self._take(resource, at)
            for item in listed.values():
                rung |= self._put(resource, item)
        self._ring(rung)

    def job(self, job_uid: str) -> Object | None:
        with self._lock:
            at = self._uids.get(job_uid)
            return None if at is None else self._jobs.get(at)

    def jobs(self) -> list[Object]:
        with self._lock:
            return list(self._jobs.values())

    def pods(self, job_uid: str) -> list[Object]:
        """The pods that this job owns."""
        with self._lock:
            return list(self._members.get(job_uid, {}).values())

    def owners(self) -> list[str]:
        """uids of jobs, there or not, that own pods which are there."""
        with self._lock:
            return list(self._members)

    def node_lost(self, name: str) -> bool:
        """Whether the node is known and not ready (a node that is not watched is not known)."""
        with self._lock:
            node = self._nodes.get(("", name))
        return node is not None and not _ready(node)

    def _of(self, resource: Resource) -> dict[Key, Object]:
        return self._pods if resource == PODS else self._nodes if resource == NODES else self._jobs

    def _put(self, resource: Resource, item: Object) -> set[str]:
        at, found = key(item), self._of(resource)
        held = found.get(at)
        if held is not None and uid(held) == uid(item) and version(item) < version(held):
            return set()
        if held == item:
            return set()
        rung = self._take(resource, at) if held is not None and uid(held) != uid(item) else set()
        if resource == NODES and held is not None and _ready(held) == _ready(item):
            found[at] = item
            return set()  # nodes report all the time
        found[at] = item
        if resource == PODS:
            owner = owner_uid(item)
            if owner:
                self._members.setdefault(owner, {})[at] = item
            return rung | ({owner} if owner else set())
        if resource == NODES:
            return rung | self._with_pods_on(at[1])
        self._uids[uid(item)] = at
        return rung | {uid(item)}

    def _take(self, resource: Resource, at: Key) -> set[str]:
        item = self._of(resource).pop(at)
        if resource == NODES:
            return self._with_pods_on(at[1])
        if resource != PODS:
            self._uids.pop(uid(item), None)
            return {uid(item)}
        owner = owner_uid(item)
        pods = self._members.get(owner, {})
        pods.pop(at, None)
        if not pods:
            self._members.pop(owner, None)
        return {owner} if owner else set()

    def _with_pods_on(self, node: str) -> set[str]:
        return {
            owner
            for owner, pods in self._members.items()
            if any((pod.get("spec") or {}).get("nodeName") == node for pod in pods.values())
        }

    def _ring(self, uids: Iterable[str]) -> None:
        for one in uids:
            self._changed(one)


def key(item: Mapping[str, Any]) -> Key:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def uid(item: Mapping[str, Any]) -> str:
    return str(item["metadata"].get("uid", ""))


def version(item: Mapping[str, Any]) -> int:
    """The resourceVersion as a number: of one object it only grows (etcd's revision; 0 where it is no number)."""
    text = str(item["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0


def owner_uid(item: Mapping[str, Any]) -> str:
    """Of the DeepseekJob that made it; empty: none did."""
    for owner in item["metadata"].get("ownerReferences") or []:
        if owner.get("kind") == KIND and owner.get("controller"):
            return str(owner.get("uid", ""))
    return ""


def _ready(node: Mapping[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
