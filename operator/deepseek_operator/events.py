"""Kubernetes Events for what a job's plans decided: `kubectl describe dsj` reads like a story.

Best effort: from a bounded queue, by a thread of its own, so that no round waits for it; what does not fit is dropped
and counted. An event that was told before is counted up. Its name follows from what it says, so a replica that takes
over counts on instead of beginning anew. Of a reason that comes again and again, whatever it says, there is one Event,
with the newest message: else a long job's checkpoints would be all that its story is of.
"""

import hashlib
import json
import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from deepseek_operator.api.status import JobEvent
from deepseek_operator.kube import EVENTS, JOBS, Api, ApiError, Exists, NotFound, Object, Rate

logger = logging.getLogger(__name__)

QUEUED = 1000
REMEMBERED = 4096
"""Events whose count is known without asking."""
BURST, PER_SECOND = 50, 0.2
"""Of one job: what goes beyond is dropped."""
ONE = ("CheckpointSaved",)
"""Reasons of which a job has one Event, and a budget of its own."""
LONGEST = 1024
"""Characters of a message that the API server takes."""


@dataclass(frozen=True, slots=True)
class About:
    namespace: str
    name: str
    uid: str


class Recorder:
    """`tell` from any thread. dropped: called for each event that nobody will see."""

    def __init__(self, api: Api, instance: str, *, dropped: Callable[[], None] = lambda: None) -> None:
        self._api = api
        self._instance = instance
        self._dropped = dropped
        self._queue: queue.Queue[tuple[About, JobEvent] | None] = queue.Queue(QUEUED)
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._rates: OrderedDict[str, Rate] = OrderedDict()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, within: float) -> None:
        """What waits is still told, if that takes no longer than `within` seconds."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(within)

    def tell(self, about: About, event: JobEvent) -> None:
        try:
            self._queue.put_nowait((about, event))
        except queue.Full:
            self._dropped()

    def _run(self) -> None:
        while True:
            item = self._queue.get()
            if item is None:
                return
            about, event = item
            if not self._rate(f"{about.uid} {event.reason}" if event.reason in ONE else about.uid).wait(0.0):
                self._dropped()
                continue
            try:
                self._write(about, event)
            except ApiError as error:
                self._dropped()
                logger.info("an Event of %s/%s was not written: %s", about.namespace, about.name, error)

    def _rate(self, whose: str) -> Rate:
        rate = self._rates.get(whose)
        if rate is None:
            rate = self._rates[whose] = Rate(PER_SECOND, BURST)
        self._rates.move_to_end(whose)
        while len(self._rates) > REMEMBERED:
            self._rates.popitem(last=False)
        return rate

    def _write(self, about: About, event: JobEvent) -> None:
        manifest = event_object(about, event, self._instance)
        name = manifest["metadata"]["name"]
        known = self._counts.get(name)
        if known is None:
            try:
                self._api.create(EVENTS, about.namespace, manifest)
                self._remember(name, event.count)
                return
            except Exists:
                found = self._api.get(EVENTS, about.namespace, name)
                known = int((found or {}).get("count") or 0)
        count = known + event.count
        newest = {"count": count, "lastTimestamp": manifest["lastTimestamp"], "message": manifest["message"]}
        try:
            self._api.merge(EVENTS, about.namespace, name, newest)
        except NotFound:  # events live for an hour
            self._api.create(EVENTS, about.namespace, manifest)
            count = event.count
        self._remember(name, count)

    def _remember(self, name: str, count: int) -> None:
        self._counts[name] = count
        self._counts.move_to_end(name)
        while len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)


def event_object(about: About, event: JobEvent, instance: str) -> Object:
    """The Event; its name is a function of job, type, reason and, unless there is one of that reason, message."""
    said = json.dumps([about.uid, event.type, event.reason, "" if event.reason in ONE else event.message])
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    message = event.message if len(event.message) <= LONGEST else event.message[: LONGEST - 3] + "..."
    at = event.time[:19] + "Z"  # whole seconds
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": f"{about.name}.{digest}", "namespace": about.namespace},
        "involvedObject": {
            "apiVersion": JOBS.api_version,
            "kind": JOBS.kind,
            "namespace": about.namespace,
            "name": about.name,
            "uid": about.uid,
        },
        "type": event.type,
        "reason": event.reason[:128],
        "message": message,
        "count": event.count,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "source": {"component": "deepseek-operator"},
        "reportingComponent": "deepseek-operator",
        "reportingInstance": instance[:128],
    }
