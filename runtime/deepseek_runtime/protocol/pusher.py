"""The worker's side: lease, pull, train, push, and push again until each span has answered.

Holds the published copy x, what compression has not sent yet (the residual e), and at most one unanswered push.
The user's thread trains; everything here runs on the I/O thread of worker.py, or in the simulator.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression import SpanCodec
from deepseek_runtime.contract.config import Timing
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import TermRecord
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
from deepseek_runtime.protocol.messages import (
    I64,
    Acknowledged,
    Answers,
    Ask,
    Beat,
    FileRef,
    Grant,
    Hello,
    InitialPart,
    InitialTaken,
    Lease,
    Message,
    NewTerm,
    Payload,
    Published,
    Pull,
    Push,
    Report,
    Unknown,
    Version,
    Welcome,
)
from deepseek_runtime.protocol.span import apply_update
from deepseek_runtime.space import Space

F32 = npt.NDArray[np.float32]


@dataclass(slots=True)
class Pending:
    """The one push that is not answered by every span yet."""

    sequence: int
    lease: Lease | None
    w: float
    samples: int
    parts: dict[int, Payload]
    kept: F32
    """What e becomes where the part is applied: e + d - payload."""
    residuals: dict[int, float]
    magnitudes: dict[int, float]
    integers: I64 | None
    stats: Mapping[str, Any]
    waiting: set[int]
    stale: bool = False
    sent_at: float = 0.0
    wait: float = 0.0


@dataclass(slots=True)
class _Outbox:
    report: Report
    sent_at: float = field(default=-1e9)


class Pusher:
    """`build` makes a span's codec. All times are of the caller's clock, in seconds."""

    def __init__(
        self,
        me: Member,
        samples: int,
        fingerprint: str,
        build: Callable[[Space, int], SpanCodec],
        timing: Timing,
    ) -> None:
        self.me = me
        self.record: TermRecord | None = None
        self.branch = 0
        self.space: Space | None = None
        self.x: F32 = np.zeros(0, np.float32)
        self.integers: I64 | None = None
        self.trained_ranges = 0
        self.lease: Lease | None = None
        self.pending: Pending | None = None
        self.welcomed = False
        self.busy = False
        """The user's thread has work of ours."""
        self.left = False
        self._samples = samples
        self._fingerprint = fingerprint
        self._build = build
        self._timing = timing
        self._codecs: list[SpanCodec] = []
        self._e: F32 = np.zeros(0, np.float32)
        self._versions: dict[int, Version | None] = {}
        self._sequence = 0
        self._newest_lease = 0
        self._training: Lease | None = None
        self._unable = 0
        self._given_up = 0
        self._reason = ""
        self._w = 0.0
        self._pull = 0
        self._pulling: set[Member] = set()
        self._pull_at = 0.0
        self._ticket: Ask | None = None
        self._flush: Ask | None = None
        self._flushing = False
        self._draining = False
        self._naming = 0
        self._initial: tuple[F32, I64] | None = None
        self._initial_space: Space | None = None
        self._taken: set[Member] = set()
        self._outbox: dict[str, _Outbox] = {}
        self._beat_at = -1e9

    # --- terms ------------------------------------------------------------------------------------------------------

    def on_term(self, record: TermRecord, now: float) -> list[Effect]:
        """Terms 1: the newest term seen, never a lower one."""
        if self.left or (self.record is not None and record.number <= self.record.number):
            return []
        self.record = record
        self.welcomed = False
        self._newest_lease = 0
        self._unable = self._given_up = 0
        self._pulling.clear()
        self._ticket = None
        self._flush = None
        self._naming = 0
        self._taken.clear()
        self._outbox = {key: box for key, box in self._outbox.items() if box.report.kind == "leaving"}
        for box in self._outbox.values():
            box.report = replace(box.report, term=record.number)
        return self._hello(now)

    def _hello(self, now: float) -> list[Effect]:
        self._beat_at = now
        assert self.record is not None
        hello = Hello(self.record.number, self.branch, self._samples, self._fingerprint, self.lease)
        return [Send(terms.chief(self.record), hello)]

    def _on_welcome(self, welcome: Welcome, now: float) -> list[Effect]:
        assert self.record is not None
        effects: list[Effect] = []
        if self.must_discard(welcome.branch):
            effects += self._adopt(welcome)
        elif not self.welcomed:
            self._take_back(welcome.lease)
        elif welcome.lease is not None and welcome.lease.number > self._newest_lease:
            # Counted as lost between two hellos: the claim was granted a second time.
            if self.lease is not None and self.lease.g == welcome.lease.g:
                self._take_back(welcome.lease)
            else:
                self._given_up = welcome.lease.number
        self.welcomed = True
        if welcome.lease is not None:
            self._newest_lease = max(self._newest_lease, welcome.lease.number)
        if self.pending is not None:
            effects += self._send_pending(now)
        return [*effects, *self._go_on(now, beat=True)]

    def must_discard(self, branch: int) -> bool:
        """Worker 6: of another branch than the chief's: residual, pending push, lease, moments and x are worthless,
        however many terms were missed."""
        return branch != self.branch

    def _adopt(self, welcome: Welcome) -> list[Effect]:
        self.branch = welcome.branch
        space = self.space = Space.from_json(welcome.space)
        self._codecs = [self._build(space, index) for index in range(len(space.spans))]
        self.x = np.zeros(space.size, np.float32)
        self._e = np.zeros(space.size, np.float32)
        self._versions = dict.fromkeys(range(len(space.spans)))
        self.integers = None
        self.lease = self._training = self.pending = None
        self._flushing = False
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

    def _take_back(self, lease: Lease | None) -> None:
        """The chief's word on the claimed range. Refused: an unanswered push is still asked for, under its old lease,
        and a range in training is given up."""
        if lease is not None and self.pending is not None and self.pending.lease is not None:
            self.pending.lease = lease
        if lease is not None and self._training is not None:
            self._training = lease
        if lease is None:
            self._training = None
        self.lease = lease

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
            self._pulling.clear()
            if not self.busy:
                self._ticket = None  # it was pulling for it; the chief gives it to somebody else
            return self._hello(now)
        if isinstance(message, Acknowledged):
            return self._on_acknowledged(message.key)
        if isinstance(message, Ask):
            return self._on_ask(message, now)
        if isinstance(message, InitialTaken):
            if message.number == self._naming:
                self._taken.add(sender)
            return []
        if not self.welcomed:
            return []
        if isinstance(message, Grant):
            return self._on_grant(message.lease, now)
        if isinstance(message, Published):
            return self._on_published(sender, message, now)
        if isinstance(message, Answers):
            return self._on_answers(message, now)
        return []

    def _on_grant(self, lease: Lease, now: float) -> list[Effect]:
        if lease.number <= self._newest_lease or not self.idle:
            return []
        self._newest_lease = lease.number
        self._unable = self._given_up = 0
        self.lease = lease
        return self._go_on(now)

    # --- pull -------------------------------------------------------------------------------------------------------

    def _start_pull(self, now: float) -> list[Effect]:
        """Worker 2: what was published since our versions."""
        assert self.record is not None
        self._pull += 1
        self._pulling = set(terms.servers(self.record))
        return self._send_pull(now)

    def _send_pull(self, now: float) -> list[Effect]:
        self._pull_at = now
        assert self.record is not None and self.space is not None
        effects: list[Effect] = []
        for server in sorted(self._pulling):
            spans = terms.hosted(self.record, server, len(self.space.spans))
            if not spans:
                self._pulling.discard(server)
                continue
            versions = {span: self._versions[span] for span in spans}
            effects.append(Send(server, Pull(self.record.number, self.branch, self._pull, versions)))
        return effects

    def _on_published(self, sender: Member, published: Published, now: float) -> list[Effect]:
        if published.number != self._pull or sender not in self._pulling or published.branch != self.branch:
            return []
        assert self.space is not None
        for index, update in published.updates.items():
            span = self.space.spans[index]
            apply_update(self._codecs[index], update, self.x[span.start : span.stop])
            self._versions[index] = update.version
        if published.integers is not None:
            self.integers = np.array(published.integers, np.int64)
        self._pulling.discard(sender)
        return self._pulled(now) if not self._pulling else []

    def _pulled(self, now: float) -> list[Effect]:
        self.busy = True
        if self._ticket is not None:
            return [StartEvaluation(self._ticket.key, self._ticket.step)]
        assert self.lease is not None
        self._training = self.lease
        if self.lease.zero:
            # Chief 4: it was tried often enough.
            return self.trained(np.zeros_like(self.x), None, 0, {}, now)
        return [StartRange(self.lease)]

    # --- what the user's thread brings back --------------------------------------------------------------------------

    def trained(
        self, difference: F32, integers: I64 | None, samples: int, stats: Mapping[str, Any], now: float
    ) -> list[Effect]:
        """Worker 4: e' = e + d; payload = compress(e'). `difference` is ours from here on."""
        self.busy = False
        lease = self._training
        self._training = None
        if lease is None or self.lease is None:
            return self._go_on(now, beat=True)
        assert self.space is not None
        kept = difference
        if lease.zero:
            kept[:] = 0
        magnitudes = {span.index: _magnitude(kept[span.start : span.stop]) for span in self.space.spans}
        kept += self._e
        parts: dict[int, Payload] = {}
        for span in self.space.spans:
            here = kept[span.start : span.stop]
            parts[span.index] = self._codecs[span.index].encode(here, here)
        self._w = lease.w
        return self._push(lease, lease.w, samples, parts, kept, magnitudes, integers, stats, now)

    def _push(
        self,
        lease: Lease | None,
        w: float,
        samples: int,
        parts: dict[int, Payload],
        kept: F32,
        magnitudes: dict[int, float],
        integers: I64 | None,
        stats: Mapping[str, Any],
        now: float,
    ) -> list[Effect]:
        """A range computed anew is a new sequence (1)."""
        assert self.space is not None
        self._sequence += 1
        residuals = {span.index: _magnitude(kept[span.start : span.stop]) for span in self.space.spans}
        self.pending = Pending(
            self._sequence,
            lease,
            w,
            samples,
            parts,
            kept,
            residuals,
            magnitudes,
            integers,
            stats,
            set(parts),
            wait=self._timing.resend,
        )
        # Between two terms nobody is asked under the old lease: its answer would be `stale`, for good.
        return self._send_pending(now) if self.welcomed else []

    def _send_pending(self, now: float) -> list[Effect]:
        """Worker 4: spans without an answer are sent again, same sequence and payload, to whoever hosts them now."""
        pending, record = self.pending, self.record
        assert pending is not None and record is not None and self.space is not None
        pending.sent_at = now
        effects: list[Effect] = []
        for server in terms.servers(record):
            spans = [s for s in terms.hosted(record, server, len(self.space.spans)) if s in pending.waiting]
            if not spans:
                continue
            push = Push(
                record.number,
                self.branch,
                pending.sequence,
                pending.lease,
                pending.w,
                pending.samples,
                {span: pending.parts[span] for span in spans},
                {span: pending.residuals[span] for span in spans},
                {span: pending.magnitudes.get(span, 0.0) for span in spans},
                pending.integers if 0 in spans else None,
                pending.stats if 0 in spans else {},
            )
            effects.append(Send(server, push))
        return effects

    def _on_answers(self, answers: Answers, now: float) -> list[Effect]:
        pending = self.pending
        if pending is None or answers.sequence != pending.sequence or answers.branch != self.branch:
            return []
        assert self.space is not None
        for index, answer in answers.answers.items():
            if index not in pending.waiting:
                continue
            pending.waiting.discard(index)
            if answer == "applied":
                span = self.space.spans[index]
                self._e[span.start : span.stop] = pending.kept[span.start : span.stop]
            pending.stale |= answer == "stale"
        return self._answered(pending, now) if not pending.waiting else []

    def _answered(self, pending: Pending, now: float) -> list[Effect]:
        self.pending = None
        if pending.lease is None:
            self._flushing = False
            return self._flushed(now)
        if not pending.stale:
            self.trained_ranges += 1
        elif self.lease is not None:
            # Worker 5: given up; said to the chief, which may have given it anew before it heard of the stale answer.
            self._given_up = self.lease.number
        self.lease = None
        return self._go_on(now, beat=True)

    def unable(self, reason: str, now: float) -> list[Effect]:
        """Worker 8: the range stays non-finite; its differences are dropped."""
        self.busy = False
        lease, self._training = self._training, None
        if lease is not None and self.lease is not None:
            self._unable, self._reason = lease.number, reason
            self.lease = None
        return self._go_on(now, beat=True)

    # --- tickets ----------------------------------------------------------------------------------------------------

    def _on_ask(self, ask: Ask, now: float) -> list[Effect]:
        if ask.kind == "leave":
            self.left = True
            return [Leave(ask.finished)]
        if ask.kind == "initialise":
            if ask.number <= self._naming or self.welcomed:
                return []
            self._naming, self._initial = ask.number, None
            self._taken.clear()
            return [StartInitial(ask.number)]
        if ask.kind == "send_initial":
            return self._send_initial(ask.number)
        if not self.welcomed or ask.key in self._outbox:
            return []
        if ask.kind == "flush":
            self._flush = ask
            return self._go_on(now)
        if not self.idle:
            return []
        self._ticket = ask
        if ask.kind == "moments":
            self.busy = True
            return [StartMoments(ask.key, ask.step, ask.term)]
        return self._start_pull(now)

    def evaluated(self, key: str, step: int, metrics: Mapping[str, float], now: float) -> list[Effect]:
        return self._close_ticket(key, "evaluated", {"step": step, "metrics": dict(metrics)}, now)

    def moments_written(self, key: str, step: int, file: FileRef | None, now: float) -> list[Effect]:
        reference = {"path": file.path, "sha256": file.sha256, "size": file.size} if file is not None else None
        return self._close_ticket(key, "moments", {"step": step, "file": reference}, now)

    def _close_ticket(self, key: str, kind: Any, body: Mapping[str, Any], now: float) -> list[Effect]:
        self.busy = False
        if self._ticket is None or self._ticket.key != key:
            return self._go_on(now, beat=True)
        self._ticket = None
        return [*self._tell(key, kind, body, now), *self._go_on(now, beat=True)]

    def _tell(self, key: str, kind: Any, body: Mapping[str, Any], now: float) -> list[Effect]:
        assert self.record is not None
        report = Report(self.record.number, key, kind, body)
        self._outbox[key] = _Outbox(report, now)
        return [Send(terms.chief(self.record), report)]

    def _on_acknowledged(self, key: str) -> list[Effect]:
        box = self._outbox.pop(key, None)
        if box is not None and box.report.kind == "leaving":
            self.left = True
            return [Leave(False)]
        return []

    # --- initial weights --------------------------------------------------------------------------------------------

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
        if number != self._naming or self.record is None:
            return []
        self._initial, self._initial_space = (values, integers), space
        reference = {"path": fixed.path, "sha256": fixed.sha256, "size": fixed.size} if fixed is not None else None
        body = {
            "number": number,
            "space": space.to_json(),
            "samples": self._samples,
            "fixed": reference,
            "tied": dict(tied),
        }
        return self._tell(f"offer/{self.record.number}/{number}", "offer", body, now)

    def _send_initial(self, number: int) -> list[Effect]:
        if number != self._naming or self._initial is None or self._initial_space is None or self.record is None:
            return []
        values, integers = self._initial
        space = self._initial_space
        effects: list[Effect] = []
        for server in terms.servers(self.record):
            spans = terms.hosted(self.record, server, len(space.spans))
            if server in self._taken or not spans:
                continue
            part = {index: values[space.spans[index].start : space.spans[index].stop] for index in spans}
            effects.append(
                Send(server, InitialPart(self.record.number, number, part, integers if 0 in spans else None))
            )
        return effects

    # --- drain and flush --------------------------------------------------------------------------------------------

    def drain(self, now: float) -> list[Effect]:
        """Worker 7: after the present range, push e dense, then leave."""
        self._draining = True
        if self.branch == 0:
            self.left = True
            return [Leave(False)]
        return self._go_on(now)

    def _flush_residual(self, now: float) -> list[Effect]:
        """A sequence without a range, with the w of the last lease."""
        assert self.space is not None
        self._flushing = True
        if not self._e.any():
            self._flushing = False
            return self._flushed(now)
        parts: dict[int, Payload] = {
            span.index: self._codecs[span.index].encode_dense(self._e[span.start : span.stop])
            for span in self.space.spans
        }
        return self._push(None, self._w, 0, parts, np.zeros_like(self._e), {}, None, {}, now)

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
            and not self._pulling
            and self._ticket is None
            and self.lease is None
            and self._flush is None
            and not self._draining
        )

    def _go_on(self, now: float, beat: bool = False) -> list[Effect]:
        if not self.welcomed or self.left:
            return []
        if self.busy or self.pending is not None or self._pulling:
            return []
        if self._draining:
            if f"leaving/{self.me}" in self._outbox:
                return []
            self.lease = None
            return self._flush_residual(now)
        if self._flush is not None:
            self.lease = None
            return self._flush_residual(now)
        if self.lease is not None:
            return self._start_pull(now)
        return self._beat(now) if beat else []

    def _beat(self, now: float) -> list[Effect]:
        self._beat_at = now
        assert self.record is not None
        beat = Beat(
            self.record.number,
            self.idle,
            self._newest_lease,
            self._unable,
            self._given_up,
            self._reason,
            self.trained_ranges,
        )
        return [Send(terms.chief(self.record), beat)]

    def on_tick(self, now: float) -> list[Effect]:
        if self.record is None or self.left:
            return []
        effects: list[Effect] = []
        if now - self._beat_at >= self._timing.heartbeat:
            effects += self._beat(now) if self.welcomed else self._hello(now)
        pending = self.pending
        if self.welcomed and pending is not None and now - pending.sent_at >= pending.wait:
            pending.wait = min(pending.wait * 2, self._timing.resend * 5)
            effects += self._send_pending(now)
        if self.welcomed and self._pulling and now - self._pull_at >= self._timing.resend:
            effects += self._send_pull(now)
        for box in self._outbox.values():
            if now - box.sent_at >= self._timing.heartbeat:
                box.sent_at = now
                effects.append(Send(terms.chief(self.record), box.report))
        return effects


def _magnitude(values: F32) -> float:
    return float(np.abs(values).sum(dtype=np.float64))
