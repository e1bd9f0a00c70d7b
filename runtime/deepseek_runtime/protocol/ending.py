"""The job's end, and a drain: residuals flushed, a last checkpoint, a last evaluation, then `finished` or `drained`.

protocol.md, End. A drain (suspend, stop) is the same without closing the spans and without evaluating.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from deepseek_runtime.contract.config import Timing
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import Finished, State
from deepseek_runtime.protocol.effects import Call, Effect, Failed, ListWorkers, Note, Send, WriteState
from deepseek_runtime.protocol.messages import Ask
from deepseek_runtime.protocol.orders import Orders
from deepseek_runtime.protocol.saving import Saving
from deepseek_runtime.protocol.server_orders import Close, Done
from deepseek_runtime.protocol.tickets import Tickets
from deepseek_runtime.protocol.workers import Workers

Phase = Literal["listing", "flushing", "closing", "saving", "evaluating", "recording", "leaving"]


@dataclass(slots=True)
class Ending:
    """`finishing`: the job is over; otherwise it is drained, and may be resumed."""

    term: int
    servers: tuple[Member, ...]
    step: int
    finishing: bool
    timing: Timing
    orders: Orders
    tickets: Tickets
    saving: Saving
    workers: Workers
    phase: Phase = "listing"
    recorded: bool = False
    _waiting: set[Member] = field(default_factory=set)
    _flushed: set[Member] = field(default_factory=set)
    _deadline: float = 0.0
    _retry_at: float | None = None
    _retry_call: Call | None = None

    def start(self, now: float) -> list[Effect]:
        """End: each registered worker is asked, listed anew, not only those the chief has heard (20)."""
        return [ListWorkers()]

    # --- residuals --------------------------------------------------------------------------------------------------

    def _on_listed(self, registered: Iterable[Member], now: float) -> list[Effect]:
        self.phase = "flushing"
        self._deadline = now + self.timing.residual
        self._waiting = self.to_flush(registered) - self._flushed
        return [*self._ask_flush(), *self._maybe_flushed(now)]

    def to_flush(self, registered: Iterable[Member]) -> set[Member]:
        return {*registered, *self.workers.seen}

    def _flush_key(self, worker: Member) -> str:
        return f"flush/{self.term}/{worker}"

    def _ask_flush(self) -> list[Effect]:
        return [Send(worker, Ask(self.term, self._flush_key(worker), "flush")) for worker in sorted(self._waiting)]

    def on_flushed(self, worker: Member, now: float) -> list[Effect]:
        self._flushed.add(worker)
        self._waiting.discard(worker)
        return self._maybe_flushed(now)

    def _maybe_flushed(self, now: float) -> list[Effect]:
        if self.phase != "flushing":
            return []
        # A worker that beats is waited for; one that has not been heard of for the whole time is lost.
        if any(worker in self.workers.seen or now < self._deadline for worker in self._waiting):
            return []
        if not self.finishing:
            return self._save(now)
        self.phase = "closing"
        return self.orders.to_all(self.servers, Close(), self._on_closed, now)

    def _on_closed(self, done: dict[Member, Done], now: float) -> list[Effect]:
        return self._save(now)

    # --- last checkpoint, last evaluation ----------------------------------------------------------------------------

    def _save(self, now: float) -> list[Effect]:
        self.phase = "saving"
        return self._continue_saving(now)

    def _continue_saving(self, now: float) -> list[Effect]:
        """A regular checkpoint that still runs is waited for; a failed last one is tried again with back-off."""
        if not self.saving.idle:
            return []
        if self.saving.last == (self.term, self.step) or not self.saving.may_write(self.step):
            return self._saved(now)
        if self._retry_at is not None and now < self._retry_at:
            return []
        self._retry_at = now + min(30.0, 1.0 * 2 ** min(5, self.saving.failed))
        return self.saving.start(self.step, now)

    def _saved(self, now: float) -> list[Effect]:
        self._retry_at = None
        if not self.finishing:
            return self._record(now)
        self.phase = "evaluating"
        self._deadline = now + self.timing.evaluator
        self.tickets.add(Ask(self.term, self.evaluation_key, "evaluate", step=self.step), now)
        return []

    @property
    def evaluation_key(self) -> str:
        return f"evaluate/{self.term}/{self.step}/last"

    def on_evaluated(self, now: float) -> list[Effect]:
        return self._record(now) if self.phase == "evaluating" else []

    # --- finished, drained -------------------------------------------------------------------------------------------

    def _record(self, now: float) -> list[Effect]:
        self.phase = "recording"
        self._deadline = now + 1.0
        return [WriteState(self.term, self.state)]

    @property
    def state(self) -> State:
        finished = Finished(term=self.term, step=self.step) if self.finishing else None
        return State(opened=self.term, finished=finished, drained=0 if self.finishing else self.term)

    def on_result(self, call: Call, result: Any, now: float) -> list[Effect]:
        if isinstance(call, ListWorkers) and self.phase == "listing":
            if isinstance(result, Failed):
                self._retry_at = now + 0.5
                self._retry_call = call
                return []
            return self._on_listed(result, now)
        # The answer to an older write of the state (`opened`) says nothing about this one.
        if isinstance(call, WriteState) and self.phase == "recording" and call.state == self.state:
            if isinstance(result, Failed) or result is False:
                # False: etcd holds another term, or lost ours; only the term itself decides, so ask again.
                self._retry_at = now + 0.5
                self._retry_call = call
                return []
            self.phase = "leaving"
            self.recorded = True
            word = "Finished" if self.finishing else "Drained"
            return [Note(word, f"step {self.step}"), *self._ask_leave()]
        return []

    def _ask_leave(self) -> list[Effect]:
        """End: only now may workers leave with 0 (12)."""
        return [
            Send(worker, Ask(self.term, f"leave/{self.term}/{worker}", "leave", finished=self.finishing))
            for worker in sorted(self.workers.seen)
        ]

    def on_tick(self, now: float) -> list[Effect]:
        if self._retry_call is not None and self._retry_at is not None and now >= self._retry_at:
            call, self._retry_call, self._retry_at = self._retry_call, None, None
            return [call]
        if self.phase == "flushing":
            self._waiting |= set(self.workers.seen) - self._flushed
            return [*self._ask_flush(), *self._maybe_flushed(now)]
        if self.phase == "saving":
            return self._continue_saving(now)
        if self.phase == "evaluating" and now >= self._deadline:
            self.tickets.close(self.evaluation_key)
            return [Note("NotEvaluated", "no worker evaluated the final model in time", True), *self._record(now)]
        if self.phase == "leaving":
            return self._ask_leave()
        return []
