"""One span as its owner holds it, or its owner's neighbour: weights theta, applied set, last answers; with the owner
also published copy p and log.

A span is a state machine of its own: it applies each range once, whoever sends it and however often, and
remembers its last answer to each worker (protocol.md, Server 1 to 4). Its changes are numbered, so that a backup takes
each once and in order.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression import NonFinite, PayloadError, SpanCodec
from deepseek_runtime.contract.names import Member
from deepseek_runtime.lent import held_elsewhere
from deepseek_runtime.protocol.applied import AppliedSet
from deepseek_runtime.protocol.effects import PartData
from deepseek_runtime.protocol.messages import Payload, Push, Update, Version
from deepseek_runtime.protocol.neighbours import Answer, HandOver, LastAnswer, PushChange
from deepseek_runtime.rules import Rule

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class SpanParts:
    """What the edge builds for a span: its codec and rule, and how the learning rate follows from g."""

    codec: SpanCodec
    rule: Rule
    lr: Callable[[int], float]
    dense: bool = False
    """Compression is off: the copy is what the rule publishes, theta itself mostly, and nothing is logged."""
    publish_every: float = 0.0
    """Part of a turn of all workers between two publications; 0: each push is published."""


@dataclass(slots=True)
class Span:
    """Created by `restored`, `handed_over`, or by hand in tests. All vectors are float32 of the span's length."""

    index: int
    parts: SpanParts
    theta: F32
    branch: int
    placed: int
    """The term that placed it here."""
    line: int
    applied: AppliedSet = field(default_factory=AppliedSet)
    skipped: set[int] = field(default_factory=set)
    integers: I64 | None = None
    ordinal: int = 0
    changes: int = 0
    """How often it changed on its branch: pushes of ranges and residuals, skips."""
    lost: float = 0.0
    """Sum of |e| of workers that will never be sent."""
    residuals: dict[str, float] = field(default_factory=dict)
    pushed: float = 0.0
    closed: bool = False
    serving: bool = True
    """Published: with its owner. A backup has neither p nor log."""
    count: int = 0
    p: F32 = field(init=False)
    answers: dict[int, LastAnswer] = field(default_factory=dict)
    _log: deque[tuple[int, bytes]] = field(default_factory=deque)
    _log_bytes: int = 0
    _unpublished: float = 0.0
    """Part of a turn of all workers that p lacks."""
    _scratch: F32 = field(init=False)
    _lent: bool = False
    """A snapshot may still have theta."""

    def __post_init__(self) -> None:
        if self.serving:
            self.begin_line(self.line)
        else:
            self.stop_serving()

    def begin_line(self, term: int) -> None:
        """A new line, with p = theta: the span came from elsewhere, or a backup has become the owner's (3)."""
        self.serving = True
        self.line, self.count = term, 0
        # Dense, both are one: a second copy of the model would double what a push costs.
        self.p = self.theta if self.parts.dense else self.theta.copy()
        self._scratch = np.empty_like(self.theta)
        self._log.clear()
        self._log_bytes = 0

    def stop_serving(self) -> None:
        """It is a backup from now on."""
        self.serving = False
        self.line = self.count = 0
        self.p = self._scratch = np.empty(0, np.float32)
        self._log.clear()
        self._log_bytes = 0

    @classmethod
    def restored(
        cls,
        part: PartData,
        parts: SpanParts,
        branch: int,
        term: int,
        weights_only: bool = False,
        serving: bool = True,
    ) -> "Span":
        """From a checkpoint: p = theta, a new line; residuals of that time are lost (protocol.md, Terms 4)."""
        span = cls(part.span, parts, part.theta, branch, term, term, serving=serving)
        span.integers = part.integers
        if not weights_only:
            span.applied = part.applied.copy()
            span.skipped = set(part.skipped)
            span.lost = part.lost + sum(part.residuals.values())
            span.pushed = part.pushed
            parts.rule.load(part.extra, part.extra_scalars)
        return span

    @classmethod
    def handed_over(cls, state: HandOver, parts: SpanParts, placed: int) -> "Span":
        """As another server held it; not published yet. Workers go on with what they owe it."""
        theta = np.array(state.theta, np.float32)
        span = cls(state.span, parts, theta, state.branch, placed, 0, serving=False)
        span.applied = state.applied.copy()
        span.skipped = set(state.skipped)
        span.integers = None if state.integers is None else np.array(state.integers, np.int64)
        span.ordinal, span.changes = state.ordinal, state.changes
        span.lost, span.pushed = state.lost, state.pushed
        span.residuals = dict(state.residuals)
        span.answers = dict(state.answers)
        parts.rule.load(dict(state.extra), dict(state.extra_scalars))
        return span

    def hand_over(self, term: int) -> HandOver:
        """All that `handed_over` needs; what changes later does not change it."""
        extra, scalars = self.parts.rule.state()
        return HandOver(
            term,
            self.index,
            self.branch,
            self.theta.copy(),
            self.applied.copy(),
            frozenset(self.skipped),
            self.ordinal,
            self.changes,
            self.lost,
            dict(self.residuals),
            self.pushed,
            dict(self.answers),
            None if self.integers is None else self.integers.copy(),
            extra,
            scalars,
        )

    # --- pushes -----------------------------------------------------------------------------------------------------

    def push(self, worker: Member, push: Push, current: bool) -> tuple[Answer, bool]:
        """The answer to `worker`, and whether theta changed. `current`: the server's word on the push's lease.

        Raises PayloadError, with nothing changed, when the part is no payload of this span.
        """
        remembered = self.remembered(worker, push.sequence)
        if remembered is not None:
            return remembered, False
        if self.outdated(worker, push.sequence):
            return "stale", False
        answer = self.judge(push, current)
        if answer == "applied":
            self.apply(worker, push)
        self.answers[worker.index] = LastAnswer(worker.incarnation, push.sequence, answer)
        return answer, answer == "applied"

    def remembered(self, worker: Member, sequence: int) -> Answer | None:
        """Server 1: the last answer is repeated to a repeated push."""
        last = self.answers.get(worker.index)
        if last is not None and (last.incarnation, last.sequence) == (worker.incarnation, sequence):
            return last.answer
        return None

    def outdated(self, worker: Member, sequence: int) -> bool:
        """A push from before the last one that was answered: a late packet, not a repeat."""
        last = self.answers.get(worker.index)
        return last is not None and (worker.incarnation, sequence) < (last.incarnation, last.sequence)

    def judge(self, push: Push, current: bool) -> Answer:
        """Server 1 and End: applied once by range id, under a current lease; residuals until the span is closed."""
        if push.lease is None:
            return "stale" if self.closed else "applied"
        if not current:
            return "stale"
        return "duplicate" if self.has(push.lease.g) else "applied"

    def has(self, g: int) -> bool:
        return g in self.applied

    def apply(self, worker: Member, push: Push) -> None:
        """Server 2, then 3: theta changes by the rule, once, and the change is published."""
        self._take(worker, push.lease.g if push.lease is not None else None, push)
        self._unpublished += push.w
        if self._unpublished >= self.parts.publish_every - 1e-6:
            self.publish()

    def _take(self, worker: Member, g: int | None, push: Push | PushChange) -> None:
        """Everything that an owner and its neighbour do alike."""
        self._own()
        lr = self.parts.lr(g if g is not None else 0)
        self.parts.rule.apply(self.theta, push.parts[self.index], push.w, lr, residual=g is None)
        if g is not None:
            self.applied.add(g)
            self.ordinal += 1
        if push.integers is not None and self.integers is not None:
            np.maximum(self.integers, push.integers, out=self.integers)
        self.residuals[str(worker)] = push.residuals.get(self.index, 0.0)
        self.pushed += push.magnitudes.get(self.index, 0.0)
        self.changes += 1

    def skip(self, g: int) -> bool:
        """Server 4: a skip enters the applied set like a push. False: it is there."""
        if g in self.applied:
            return False
        self.applied.add(g)
        self.skipped.add(g)
        self.changes += 1
        return True

    def follow(self, g: int | None, push: PushChange | None) -> None:
        """A backup takes what its owner has applied, and was the first to answer (Server 6)."""
        if push is None:
            assert g is not None
            self.skip(g)
            return
        self._take(push.worker, g, push)
        self.answers[push.worker.index] = LastAnswer(push.worker.incarnation, push.sequence, "applied")

    # --- the published copy -----------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Server 3: d = compress(theta - p); p += d; log it."""
        self._unpublished = 0.0
        target = self.parts.rule.published(self.theta)
        if self.parts.dense:
            if target is self.theta and not self.parts.publish_every:
                self.p = self.theta  # each change is published: no copy is needed
            elif self.p is self.theta:
                self.p = target.copy()
            else:
                self.p[:] = target
            self.count += 1
            return
        np.subtract(target, self.p, out=self._scratch)
        try:
            payload = self.parts.codec.encode(self._scratch, self._scratch)
        except NonFinite:
            return  # theta is no weights any more; p stays what workers have
        self.count += 1
        self.parts.codec.add(payload, self.p, 1.0)
        self._log.append((self.count, payload))
        self._log_bytes += len(payload)
        while self._log and self._log_bytes > self.p.nbytes:
            self._log_bytes -= len(self._log.popleft()[1])

    def publish_dense(self) -> None:
        """End: p = theta, once, exactly."""
        if self.p is not self.theta:
            self.p[:] = self.theta
        self.count += 1
        self._log.clear()
        self._log_bytes = 0

    def update_since(self, held: Version | None) -> Update | None:
        """What a worker that holds `held` needs; None: nothing. Another line, a version older than the log, or a log
        dearer than the copy: the copy itself."""
        version = Version(self.line, self.count)
        if held == version:
            return None
        first = self._log[0][0] if self._log else self.count + 1
        if held is None or not self.same_line(held) or held.count + 1 < first:
            return Update(version, copy=self.parts.codec.encode_dense(self.p))
        return Update(version, payloads=tuple(data for count, data in self._log if count > held.count))

    def same_line(self, held: Version) -> bool:
        """Worker 2: differences may only be added to the same line."""
        return held.line == self.line and held.count <= self.count

    # --- checkpoints ------------------------------------------------------------------------------------------------

    def _own(self) -> None:
        """Before theta changes: copied if a snapshot still has it, which is not written yet."""
        if not self._lent:
            return
        self._lent = False
        if held_elsewhere(self.theta, 2 if self.p is self.theta else 1):
            dense = self.p is self.theta
            self.theta = self.theta.copy()
            if dense:
                self.p = self.theta

    def snapshot(self) -> PartData:
        """Checkpoints 1: the span as it is now; what is applied later does not change it, because it is copied then:
        no push waits for the copy of more than its own spans, and what is written by then is not copied at all."""
        self._lent = True
        extra, scalars = self.parts.rule.state()
        return PartData(
            self.index,
            self.theta,
            self.applied.copy(),
            set(self.skipped),
            self.ordinal,
            self.lost,
            dict(self.residuals),
            self.pushed,
            None if self.integers is None else self.integers.copy(),
            extra,
            scalars,
        )


def apply_update(codec: SpanCodec, update: Update, x: F32) -> None:
    """The worker's side of `update_since`: x becomes p, bit for bit, because both add the same payloads in order.

    Raises PayloadError.
    """
    if update.copy is not None:
        codec.put(update.copy, x)
    for payload in update.payloads:
        codec.add(payload, x, 1.0)


__all__ = ["LastAnswer", "Payload", "PayloadError", "Span", "SpanParts", "apply_update"]
