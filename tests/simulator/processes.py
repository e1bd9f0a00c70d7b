"""A member's process: one loop, ticks, pauses, its end. What it runs is in servers.py and workers.py."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import ExitRecord
from deepseek_runtime.protocol.messages import Message
from simulator.etcd import Client

if TYPE_CHECKING:
    from simulator.job import Job

TICK = 0.5


class Process:
    """A member: alive, paused (what comes meanwhile waits), or gone with or without an exit record."""

    def __init__(self, job: "Job", me: Member) -> None:
        self.job = job
        self.clock = job.clock
        self.me = me
        self.alive = True
        self.paused = False
        self.terminating = False
        self.exit: ExitRecord | None = None
        self.ended_at: float | None = None
        self.disturbed_at = self.clock.now
        """When it was last paused, cut off or begun."""
        self.etcd = Client(job.etcd, str(me), self.run, self.on_view)
        self._backlog: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self.clock.after(self.clock.random.uniform(0, TICK), self.run, self._tick)

    def run(self, do: Callable[..., None], *args: Any) -> None:
        if not self.alive:
            return
        if self.paused:
            self._backlog.append((do, args))
        else:
            do(*args)

    def pause(self) -> None:
        if self.alive and not self.paused:
            self.clock.log("%s is paused", self.me)
            self.paused = True
            self.disturbed_at = self.clock.now

    def wake(self) -> None:
        if not self.paused:
            return
        self.clock.log("%s wakes", self.me)
        self.paused = False
        self.disturbed_at = self.clock.now
        backlog, self._backlog = self._backlog, deque()
        for do, args in backlog:
            self.run(do, *args)

    def kill(self) -> None:
        if self.alive:
            self.clock.log("%s is killed", self.me)
            self._end(None, resign=False)

    def leave(self, code: int, reason: str) -> None:
        if not self.alive:
            return
        self.clock.log("%s leaves: %d %s", self.me, code, reason)
        self._end(ExitRecord(code=code, reason=reason), resign=True)

    def _end(self, record: ExitRecord | None, resign: bool) -> None:
        self.alive = False
        self.paused = False
        self.exit = record
        self.ended_at = self.clock.now
        self._backlog.clear()
        if resign and self.etcd.reachable:
            self.job.etcd.resign((self.me.role, self.me.index), self.me.incarnation)
        self.etcd.close()
        self.job.changed()

    def _tick(self) -> None:
        self.clock.after(TICK, self.run, self._tick)
        self.on_tick()

    def on_tick(self) -> None:
        raise NotImplementedError

    def on_view(self) -> None:
        raise NotImplementedError

    def terminate(self) -> None:
        raise NotImplementedError

    def deliver(self, sender: Member, message: Message) -> None:
        raise NotImplementedError
