"""Logs of a job's pods, those that ended and are kept too: read through the API server, also while they grow."""

import contextlib
import json
import re
from collections.abc import Mapping
from typing import Final

from deepseek_operator.kube import PODS, Api, Invalid, NotFound, Object, Unreachable
from deepseek_operator.place import Choice, Log, chosen
from deepseek_runtime.contract.names import (
    CONTAINER,
    LABEL_INCARNATION,
    LABEL_INDEX,
    LABEL_JOB,
    LABEL_ROLE,
    Member,
)

_STAMP: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z ?")


class PodLog:
    """A place.Log. What the kubelet has rotated away is not there any more."""

    def __init__(self, api: Api, namespace: str, pod: str, most: int | None = None) -> None:
        self.time = ""
        self._api = api
        self._namespace = namespace
        self._pod = pod
        self._most = most
        self._last = ""
        """When the kubelet got the last line that was read, to the nanosecond."""

    def more(self, *, end: bool = False) -> list[str]:
        """Raises ApiError. Nothing, while the container has not started, or when the pod is gone."""
        try:
            text = self._api.log(
                self._namespace, self._pod, CONTAINER, stamps=True, since=self._last[:19] + "Z" if self._last else "",
                tail=None if self._last else self._most,
            )  # fmt: skip
        except (NotFound, Invalid, Unreachable):  # its node may be lost, which is no reason to leave the others
            return []
        lines: list[str] = []
        for line in text.split("\n"):
            found = _STAMP.match(line)
            if found is None:
                if line and lines:
                    lines.append(line)
                continue
            stamp = f"{found[1]}.{(found[2] or ''):<09}"
            if stamp > self._last:
                self._last = stamp
                lines += plain(line[found.end() :]).split("\n")
        return lines


def plain(line: str) -> str:
    """A member's JSON line as the same member writes it on one machine; any other as it is."""
    if line.startswith('{"time":'):
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict) and {"time", "level", "member", "message"} <= said.keys():
                return f"{said['time']} {said['level']} member={said['member']} {said['message']}"
    return line


def logs_of(api: Api, namespace: str, job: str, uid: str, choice: Choice, most: int | None) -> Mapping[str, Log]:
    """By member. Raises ApiError."""
    pods = member_pods(api.list(PODS, namespace, f"{LABEL_JOB}={job}"), uid)
    return {str(member): PodLog(api, namespace, pods[member], most) for member in chosen(choice, pods)}


def member_pods(pods: list[Object], uid: str) -> dict[Member, str]:
    """Names of the pods that this very job has, or had and kept."""
    found = {}
    for pod in pods:
        about = pod["metadata"]
        labels = about.get("labels") or {}
        if any(owner.get("uid") == uid for owner in about.get("ownerReferences") or []):
            with contextlib.suppress(KeyError, ValueError):
                parts = (labels[LABEL_ROLE], labels[LABEL_INDEX], labels[LABEL_INCARNATION])
                found[Member.parse("-".join(parts))] = str(about["name"])
    return found
