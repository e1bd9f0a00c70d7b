"""A worker that breaks a rule."""

from dataclasses import replace
from typing import Any

from deepseek_runtime.protocol.effects import Effect, Send
from deepseek_runtime.protocol.messages import Beat, Lease, Welcome
from deepseek_runtime.protocol.pusher import Pusher
from deepseek_runtime.protocol.pushing import Pending, Pushing
from deepseek_runtime.protocol.worker_lease import WorkerLease
from simulator.mutations.mutation import Mutation


def _weight_of_the_lease(original: Any) -> Any:
    def take_back(self: WorkerLease, lease: Lease | None, pending: Pending | None) -> None:
        original(self, lease, pending)
        if lease is not None and pending is not None:
            pending.w = lease.w

    return take_back


def _asks_once(original: Any) -> Any:
    def on_tick(self: Pusher, now: float) -> list[Effect]:
        return [
            replace(e, message=replace(e.message, wants=False))
            if isinstance(e, Send) and isinstance(e.message, Beat)
            else e
            for e in original(self, now)
        ]

    return on_tick


def _old_sequence(original: Any) -> Any:
    def begin(self: Pushing, lease: Lease | None, *rest: Any) -> None:
        if lease is not None and self.__dict__.get("last_g") == lease.g:
            self._sequence -= 1
        self.__dict__["last_g"] = lease.g if lease is not None else None
        original(self, lease, *rest)

    return begin


def _silent(original: Any) -> Any:
    def answered(self: Pusher, pending: Any, now: float) -> list[Effect]:
        effects: list[Effect] = original(self, pending, now)
        self.leased.given_up = 0
        return [
            replace(e, message=replace(e.message, given_up=0))
            if isinstance(e, Send) and isinstance(e.message, Beat)
            else e
            for e in effects
        ]

    return answered


def _welcomed_once(original: Any) -> Any:
    def on_welcome(self: Pusher, welcome: Welcome, now: float) -> list[Effect]:
        if self.welcomed:
            self.leased.note(welcome.lease)
        return original(self, welcome, now)  # type: ignore[no-any-return]

    return on_welcome


def _sent_unwelcome(original: Any) -> Any:
    def push(self: Pusher, *arguments: Any) -> list[Effect]:
        welcomed, self.welcomed = self.welcomed, True
        try:
            return original(self, *arguments)  # type: ignore[no-any-return]
        finally:
            self.welcomed = welcomed

    return push


MUTATIONS = {
    "a range given up is kept quiet": Mutation("Worker 5 (4)", Pusher, "_answered", _silent),
    "a second welcome is not heard": Mutation("Worker 1 (15)", Pusher, "_on_welcome", _welcomed_once),
    "pushed between two terms": Mutation("Worker 5 (4)", Pusher, "_push", _sent_unwelcome),
    "computed anew under the old sequence": Mutation("Worker 4 (1)", Pushing, "_begin", _old_sequence),
    "a residual is not flushed": Mutation(
        "Worker 7 (12)", Pusher, "_flush_residual", lambda original: lambda self, now: self._flushed(now)
    ),
    "an older branch keeps what it has": Mutation(
        "Worker 6 (6)", Pusher, "must_discard", lambda original: lambda self, branch: self.branch == 0
    ),
    "a push changes its weight": Mutation("Server 2 (7)", WorkerLease, "take_back", _weight_of_the_lease),
    "a worker asks once": Mutation("Worker 1 (15)", Pusher, "on_tick", _asks_once),
}
