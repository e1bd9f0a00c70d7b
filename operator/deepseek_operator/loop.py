"""The round observe -> plan -> apply, and the queue that says when a job's next round is due.

Any change rings the queue; a round that did something rings it too, so that its own result is looked at; what only time
brings comes by `Plan.requeue_after`. A round writes in this order: the status, the members, etcd. Nothing is lost
between two of these: the next round, also of another process, sees what is missing and does it.
"""

import heapq
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from deepseek_operator.api.status import JobEvent, JobStatus
from deepseek_operator.executors import Executor
from deepseek_operator.reconcile.intent import Intent
from deepseek_operator.reconcile.observe import EtcdSeen, Now, observe
from deepseek_operator.reconcile.plan import Plan, plan
from deepseek_operator.reconcile.status import with_events
from deepseek_runtime.contract.records import Command, Progress, TermRecord
from deepseek_runtime.membership import Unavailable, View

logger = logging.getLogger(__name__)

RETRY = 1.0
"""Seconds until a round is repeated in which a write failed."""


class NotSaved(Exception):
    """The status was not saved, and nothing of the plan may be carried out."""


class Stale(NotSaved):
    """The status that a round was planned from is not the last one: load it, plan again."""


class Queue:
    """Keys that are due, each at most once, at the earliest of the times asked for. Any thread may add."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def add(self, key: str, delay: float = 0.0) -> None:
        """Makes `key` due in `delay` seconds, unless it is due before."""
        at = time.monotonic() + delay
        with self._news:
            if at < self._due.get(key, float("inf")):
                self._due[key] = at
                heapq.heappush(self._heap, (at, key))
                self._news.notify()

    def __len__(self) -> int:
        with self._news:
            return len(self._due)

    def get(self, timeout: float) -> str | None:
        """The next key that is due, no longer in the queue; None after `timeout` seconds without one."""
        end = time.monotonic() + timeout
        with self._news:
            while True:
                now = time.monotonic()
                while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
                    heapq.heappop(self._heap)  # it was made due earlier since
                if self._heap and self._heap[0][0] <= now:
                    _, key = heapq.heappop(self._heap)
                    del self._due[key]
                    return key
                if now >= end:
                    return None
                self._news.wait(min(end, self._heap[0][0] if self._heap else end) - now)


class Etcd(Protocol):
    """What a round writes to etcd (membership.Membership). All raise Unavailable, and can be repeated."""

    def view(self) -> View: ...
    def raise_term(self, record: TermRecord) -> bool: ...
    def put_progress(self, progress: Progress, term: int) -> bool: ...
    def put_command(self, id: str, command: Command) -> bool: ...
    def drop_command(self, id: str) -> bool: ...
    def drop_request(self, id: str) -> bool: ...


def clocks() -> Now:
    return Now(time.time(), time.monotonic())


@dataclass(slots=True)
class Round:
    """The rounds of one job. status: the last one, also when it could not be saved. One thread."""

    executor: Executor
    etcd: Etcd
    save: Callable[[JobStatus], float | None]
    """None: it is saved. Seconds: it may wait so long, and is asked for again then (progress, where many share a
    budget). Raises OSError, and members are seen to all the same; or NotSaved."""
    status: JobStatus
    etcd_seen: Callable[[], EtcdSeen | None] = lambda: None
    now: Callable[[], Now] = clocks
    tell: Callable[[tuple[JobEvent, ...]], None] | None = None
    """Where events go once the status is saved; None: into the status."""
    unsaved: bool = field(default=False, init=False)
    deferred: bool = field(default=False, init=False)

    def once(self, intent: Intent) -> tuple[Plan, float | None]:
        """One round: what was planned, and in how many seconds the next is due (None: when something changes).

        Raises NotSaved, and whatever the executor raises.
        """
        # Members first: of one that is seen to have left, what it wrote before is then in the view, or on its way.
        members = self.executor.observe()
        obstacle = self.executor.obstacle()
        seen = observe(members, self.etcd.view(), self.status, self.now(), self.etcd_seen(), obstacle)
        made = plan(intent, seen)
        acts = made.writes(self.status)
        due = [] if made.requeue_after is None else [made.requeue_after]
        if acts or self.unsaved or self.deferred:
            wait = self._save(made.status if self.tell else with_events(made.status, made.events))
            if wait is not None:
                due.append(wait)
            self._say(made.events)
        if acts:
            self.executor.apply(made)
            due.append(0.0)
        if self.unsaved or not self._write(made):
            due = [RETRY]
        return made, min(due, default=None)

    def _save(self, status: JobStatus) -> float | None:
        try:
            wait = self.save(status)
        except OSError as error:
            self.status = status
            if not self.unsaved:
                logger.error("the status cannot be saved (%s): no term is raised until it can", error.strerror)
            self.unsaved = True
            return None
        self.status = status
        self.unsaved, self.deferred = False, wait is not None
        return wait

    def _say(self, events: tuple[JobEvent, ...]) -> None:
        for event in events:
            level = logging.WARNING if event.type == "Warning" else logging.INFO
            logger.log(level, "%s: %s", event.reason, event.message)
        if self.tell is not None and events:
            self.tell(events)

    def _write(self, made: Plan) -> bool:
        """False: etcd did not take it all."""
        try:
            if made.term is not None and not self.etcd.raise_term(made.term):
                logger.warning("etcd holds another term than %d", made.term.number)
                return False
            if made.term is not None:
                self._put_progress_back(made.term)
            for id, command in made.commands:
                self.etcd.put_command(id, command)
            for id in made.drop_commands:
                self.etcd.drop_command(id)
            for id in made.drop_requests:
                self.etcd.drop_request(id)
        except Unavailable as error:
            logger.warning("not written to etcd, tried again: %s", error)
            return False
        return True

    def _put_progress_back(self, term: TermRecord) -> None:
        """After etcd was emptied, or began empty: the chief's sums go on from what was last seen of them."""
        if self.etcd.view().progress is None and self.status.progress is not None:
            self.etcd.put_progress(self.status.progress, term.number)
