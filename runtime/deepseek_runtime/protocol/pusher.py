"""A worker's life: hello, lease, pull, train, push until each span has answered, tickets, drain; what comes next.

Its published copy is in pulling.py, residual and unanswered push in pushing.py, its lease in worker_lease.py.
The user's thread trains; everything here runs on the I/O thread of worker.py, or in the simulator.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression import SpanCodec
from deepseek_runtime.compression.momentum import Correction
from deepseek_runtime.contract.config import Timing
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import TermRecord
from deepseek_runtime.guard.caution import Held
from deepseek_runtime.protocol import term as terms
from deepseek_runtime.protocol.effects import (
    Adopt,
    Effect,
    Leave,
    Send,
    StartEvaluation,
    StartInitial,
    StartMoments,
    StartRange,
)
from deepseek_runtime.protocol.files import FileRef
from deepseek_runtime.protocol.messages import (
    I64,
    Acknowledged,
    Answers,
    Ask,
    Grant,
    Hello,
    InitialTaken,
    Lease,
    Message,
    NewTerm,
    Published,
    Unknown,
    Welcome,
)
from deepseek_runtime.protocol.offering import Offering
from deepseek_runtime.protocol.outbox import Outbox
from deepseek_runtime.protocol.pieces import PIECE
from deepseek_runtime.protocol.pulling import Pulling
from deepseek_runtime.protocol.pushing import Pending, Pushing
from deepseek_runtime.protocol.worker_lease import WorkerLease
from deepseek_runtime.space import Space, zeros

F32 = npt.NDArray[np.float32]


class Pusher:
    """`build` makes a span's codec; `correction`: the momentum of Deep Gradient Compression; `piece`: see pieces.py;
    `room`: a vector for x.

    All times are of the caller's clock, in seconds."""

    def __init__(
        self,
        me: Member,
        samples: int,
        fingerprint: str,
        build: Callable[[Space, int], SpanCodec],
        timing: Timing,
        *,
        correction: Correction | None = None,
        piece: int = PIECE,
        room: Callable[[int], F32] = zeros,
    ) -> None:
        self.me = me
        self.record: TermRecord | None = None
        self.branch = 0
        self.trained_ranges = 0
        self.welcomed = False
        self.busy = False
        """The user's thread has work of ours."""
        self.left = False
        self.leased = WorkerLease()
        self.pulling = Pulling(timing.resend, room)
        self.pushing = Pushing(timing.resend, correction, piece)
        self.ticket: Ask | None = None
        self._outbox = Outbox(timing.heartbeat)
        self._offering = Offering(samples)
        self._samples = samples
        self._fingerprint = fingerprint
        self._build = build
        self._heartbeat = timing.heartbeat
        self._flush: Ask | None = None
        self._storing = ""
        """Key of the moments that are copied and not stored yet."""
        self._draining = False
        self._beat_at = -1e9

    @property
    def x(self) -> F32:
        """The published copy, flat. Changes under a pull only."""
        return self.pulling.x

    @property
    def integers(self) -> I64 | None:
        return self.pulling.integers

    @property
    def lease(self) -> Lease | None:
        return self.leased.held

    @property
    def pending(self) -> Pending | None:
        return self.pushing.pending

    # --- terms ------------------------------------------------------------------------------------------------------

    def on_term(self, record: TermRecord, now: float) -> list[Effect]:
        """Terms 1: the newest term seen, never a lower one."""
        if self.left or (self.record is not None and record.number <= self.record.number):
            return []
        self.record = record
        self.welcomed = False
        self.leased.new_term()
        self.pulling.stop()
        self.ticket = None
        self._storing = ""
        self._flush = None
        self._offering.new_term()
        self._outbox.new_term(record.number)
        return self._hello(now)

    def _hello(self, now: float) -> list[Effect]:
        self._beat_at = now
        assert self.record is not None
        hello = Hello(self.record.number, self.branch, self._samples, self._fingerprint, self.lease)
        return [Send(terms.chief(self.record), hello)]

    def _on_welcome(self, welcome: Welcome, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self.must_discard(welcome.branch):
            effects += self._adopt(welcome)
        elif not self.welcomed:
            self.leased.take_back(welcome.lease, self.pending)
        else:
            self.leased.welcomed_again(welcome.lease, self.pending)
        self.welcomed = True
        self.leased.note(welcome.lease)
        effects += self._send_pending(now)
        return [*effects, *self._go_on(now, beat=True)]

    def must_discard(self, branch: int) -> bool:
        """Worker 6: of another branch than the chief's: residual, pending push, lease, moments and x are worthless,
        however many terms were missed."""
        return branch != self.branch

    def _adopt(self, welcome: Welcome) -> list[Effect]:
        self.branch = welcome.branch
        space = Space.from_json(welcome.space)
        codecs = [self._build(space, index) for index in range(len(space.spans))]
        self.pulling.adopt(space, codecs)
        self.pushing.adopt(space, codecs)
        self.leased.discard()
        return [
            Adopt(
                welcome.branch,
                welcome.space,
                welcome.samples,
                welcome.fixed,
                welcome.moments,
                welcome.step,
                welcome.loss_scale,
            )
        ]

    # --- messages ---------------------------------------------------------------------------------------------------

    def on_message(self, sender: Member, message: Message, now: float) -> list[Effect]:
        if self.record is None or self.left:
            return []
        if isinstance(message, NewTerm):
            return self.on_term(message.record, now)
        if getattr(message, "term", self.record.number) != self.record.number:
            return []
        if isinstance(message, Welcome):
            return self._on_welcome(message, now)
        if isinstance(message, Unknown):
            self.welcomed = False
            self.pulling.stop()
            if not self.busy:
                self.ticket = None  # it was pulling for it; the chief gives it to somebody else
            return self._hello(now)
        if isinstance(message, Acknowledged):
            return self._on_acknowledged(message.key)
        if isinstance(message, Ask):
            return self._on_ask(message, now)
        if isinstance(message, InitialTaken):
            self._offering.taken(sender, message.number)
            return []
        if not self.welcomed:
            return []
        if isinstance(message, Grant):
            return self._on_grant(message.lease, now)
        if isinstance(message, Published):
            return self._pulled(now) if self.pulling.take(sender, message, self.branch) else []
        if isinstance(message, Answers):
            answered = self.pushing.take(message, self.branch)
            return self._answered(answered, now) if answered is not None else []
        return []

    def _on_grant(self, lease: Lease, now: float) -> list[Effect]:
        if lease.number <= self.leased.newest or not self.idle:
            return []
        self.leased.grant(lease)
        return self._go_on(now)

    def _on_acknowledged(self, key: str) -> list[Effect]:
        report = self._outbox.acknowledged(key)
        if report is not None and report.kind == "leaving":
            self.left = True
            return [Leave(False)]
        return []

    # --- a range ----------------------------------------------------------------------------------------------------

    def _start_pull(self, now: float) -> list[Effect]:
        assert self.record is not None
        return self.pulling.start(self.record, self.branch, now)

    def _pulled(self, now: float) -> list[Effect]:
        self.busy = True
        if self.ticket is not None:
            return [StartEvaluation(self.ticket.key, self.ticket.step)]
        assert self.lease is not None
        self.leased.training = self.lease
        if self.lease.zero:
            # Chief 4: it was tried often enough.
            return list(self.trained(np.zeros_like(self.x), None, 0, {}, now))
        return [StartRange(self.lease)]

    def trained(
        self, difference: F32, integers: I64 | None, samples: int, stats: Mapping[str, Any], now: float
    ) -> Iterable[Effect]:
        """The user's thread has trained its range: d = x - y, ours from here on.

        What it gives is made while it is carried out, before anything else is asked of this machine.
        """
        self.busy = False
        lease = self.leased.trained()
        if lease is None:
            return self._go_on(now, beat=True)
        self.pushing.begin(lease, difference, self.x, integers, samples, stats)
        return self._push(now)

    def unable(self, reason: str, now: float, held: Held | None = None) -> list[Effect]:
        """Worker 8: the range stays non-finite, or is implausible; its differences are dropped."""
        self.busy = False
        lease = self.leased.trained()
        if lease is not None:
            self.leased.give_back(lease, reason, held)
        return self._go_on(now, beat=True)

    def _push(self, now: float) -> Iterable[Effect]:
        """Worker 5: between two terms nobody is asked under the old lease: its answer would be `stale`, for good."""
        return self._send_pending(now) if self.welcomed else []

    def _send_pending(self, now: float) -> Iterable[Effect]:
        assert self.record is not None
        return self.pushing.send(self.record, self.branch, now)

    def _answered(self, answered: Pending, now: float) -> list[Effect]:
        """Worker 5: each span has answered."""
        if answered.lease is None:
            return self._flushed(now)
        if not answered.stale:
            self.trained_ranges += 1
        else:
            self.leased.answered_stale()
        self.leased.held = None
        return self._go_on(now, beat=True)

    # --- tickets ----------------------------------------------------------------------------------------------------

    def _on_ask(self, ask: Ask, now: float) -> list[Effect]:
        assert self.record is not None
        if ask.kind == "leave":
            self.left = True
            return [Leave(ask.finished)]
        if ask.kind == "initialise":
            return [StartInitial(ask.number)] if not self.welcomed and self._offering.named(ask.number) else []
        if ask.kind == "send_initial":
            return self._offering.send(self.record, ask.number)
        if not self.welcomed or ask.key in self._outbox or ask.key == self._storing:
            return []
        if ask.kind == "flush":
            self._flush = ask
            return self._go_on(now)
        if not self.idle:
            return []
        self.ticket = ask
        if ask.kind == "moments":
            self.busy = True
            return [StartMoments(ask.key, ask.step, ask.term)]
        return self._start_pull(now)

    def evaluated(self, key: str, step: int, metrics: Mapping[str, float], now: float) -> list[Effect]:
        return self._close_ticket(key, "evaluated", {"step": step, "metrics": dict(metrics)}, now)

    def moments_copied(self, key: str, now: float) -> list[Effect]:
        """The worker may go on: what was copied is stored meanwhile, and `moments_written` comes later."""
        if self.ticket is None or self.ticket.key != key:
            return []
        self.busy = False
        self.ticket = None
        self._storing = key
        return self._go_on(now, beat=True)

    def moments_written(self, key: str, step: int, file: FileRef | None, now: float) -> list[Effect]:
        reference = {"path": file.path, "sha256": file.sha256, "size": file.size} if file is not None else None
        body = {"step": step, "file": reference}
        if self._storing != key:
            return self._close_ticket(key, "moments", body, now)
        self._storing = ""
        return [*self._tell(key, "moments", body, now), *self._go_on(now)]

    def _close_ticket(self, key: str, kind: Any, body: Mapping[str, Any], now: float) -> list[Effect]:
        self.busy = False
        if self.ticket is None or self.ticket.key != key:
            return self._go_on(now, beat=True)
        self.ticket = None
        return [*self._tell(key, kind, body, now), *self._go_on(now, beat=True)]

    def offered(
        self,
        number: int,
        space: Space,
        values: F32,
        integers: I64,
        fixed: FileRef | None,
        tied: Mapping[str, str],
        now: float,
    ) -> list[Effect]:
        """The user's thread has built the initial model."""
        if self.record is None:
            return []
        body = self._offering.offer(number, space, values, integers, fixed, tied)
        return self._tell(f"offer/{self.record.number}/{number}", "offer", body, now) if body is not None else []

    def _tell(self, key: str, kind: Any, body: Mapping[str, Any], now: float) -> list[Effect]:
        assert self.record is not None
        return self._outbox.tell(self.record, key, kind, body, now)

    # --- drain and flush --------------------------------------------------------------------------------------------

    def drain(self, now: float) -> list[Effect]:
        """Worker 7: after the present range, push e dense, then leave."""
        self._draining = True
        if self.branch == 0:
            self.left = True
            return [Leave(False)]
        return self._go_on(now)

    def _flush_residual(self, now: float) -> list[Effect]:
        """Worker 7: nothing to push counts as pushed."""
        return list(self._push(now)) if self.pushing.begin_residual() else self._flushed(now)

    def _flushed(self, now: float) -> list[Effect]:
        if self._draining:
            return self._tell(f"leaving/{self.me}", "leaving", {}, now)
        if self._flush is None:
            return self._go_on(now, beat=True)
        key, self._flush = self._flush.key, None
        return [*self._tell(key, "flushed", {}, now), *self._go_on(now, beat=True)]

    # --- what comes next --------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Nothing is under way: a range or a ticket may come."""
        return (
            self.welcomed
            and not self.busy
            and self.pending is None
            and not self.pulling.under_way
            and self.ticket is None
            and self.lease is None
            and self._flush is None
            and not self._draining
        )

    def _go_on(self, now: float, beat: bool = False) -> list[Effect]:
        if not self.welcomed or self.left:
            return []
        if self.busy or self.pending is not None or self.pulling.under_way:
            return []
        if self._draining and (self._storing or f"leaving/{self.me}" in self._outbox):
            return []  # what is being stored would be lost with this process
        if self._draining or self._flush is not None:
            self.leased.held = None
            return self._flush_residual(now)
        if self.lease is not None:
            return self._start_pull(now)
        return self._beat(now) if beat else []

    def _beat(self, now: float) -> list[Effect]:
        self._beat_at = now
        assert self.record is not None
        beat = self.leased.beat(self.record.number, self.idle, self.trained_ranges)
        return [Send(terms.chief(self.record), beat)]

    def on_tick(self, now: float) -> list[Effect]:
        record = self.record
        if record is None or self.left:
            return []
        effects: list[Effect] = []
        if now - self._beat_at >= self._heartbeat:
            effects += self._beat(now) if self.welcomed else self._hello(now)
        if self.welcomed:
            effects += self.pushing.repeat(record, self.branch, now)
            effects += self.pulling.repeat(record, self.branch, now)
        return [*effects, *self._outbox.repeat(record, now)]
