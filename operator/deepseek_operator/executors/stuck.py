"""Pods whose volumes are not mounted: only an Event says which, and why. Asked for when it matters, and not often."""

import logging
from dataclasses import replace

from deepseek_operator.executors.render.parts import Manifest
from deepseek_operator.executors.sight import CANNOT_MOUNT
from deepseek_operator.kube import EVENTS, Api, ApiError
from deepseek_operator.reconcile.observe import MemberSeen

logger = logging.getLogger(__name__)

ASKED_AGAIN = 15.0
"""Seconds until the Events of a pod are read again."""
_REASONS = ("FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox")


class MountProblems:
    """One job's."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[str, tuple[float, str]] = {}
        """uid of a pod -> when its Events were read, and what they said."""

    def explained(self, seen: MemberSeen, pod: Manifest, now: float) -> MemberSeen:
        """With the Event's own words, where its volumes are late."""
        waiting, uid = seen.waiting, str(pod["metadata"].get("uid", ""))
        if waiting is None or waiting.reason != CANNOT_MOUNT or now < waiting.after:
            self._known.pop(uid, None)
            return seen
        read_at, said = self._known.get(uid, (0.0, ""))
        if now - read_at >= ASKED_AGAIN:
            said = self._read(pod) or said
            self._known[uid] = (now, said)
        return replace(seen, waiting=replace(waiting, message=said)) if said else seen

    def _read(self, pod: Manifest) -> str:
        about = pod["metadata"]
        try:
            events = self._api.list(EVENTS, about["namespace"], fields=f"involvedObject.uid={about['uid']}")
        except ApiError as error:
            logger.warning("cannot read the events of %s: %s", about["name"], error)
            return ""
        told = [event for event in events if event.get("reason") in _REASONS]
        newest = max(told, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""), default=None)
        return "" if newest is None else " ".join(str(newest.get("message", "")).split()).rstrip(". ")
