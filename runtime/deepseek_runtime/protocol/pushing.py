"""A worker's pushes: what compression has not sent yet (the residual e), and at most one push that is unanswered.

With Deep Gradient Compression also the momentum u, which changes with e: compression/momentum.py.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression import SpanCodec
from deepseek_runtime.compression.coding import AS_SET, How
from deepseek_runtime.compression.momentum import Correction, masked, one_threshold
from deepseek_runtime.contract.records import TermRecord
from deepseek_runtime.protocol import term as terms
from deepseek_runtime.protocol.effects import Effect, Send
from deepseek_runtime.protocol.messages import I64, Answers, Lease, Payload, Push
from deepseek_runtime.protocol.pieces import PIECE, pieces
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
    exact: F32 | None
    """What is sent as it is: made into payloads whenever it is sent, and e stays 0."""
    residuals: dict[int, float]
    magnitudes: dict[int, float]
    integers: I64 | None
    stats: Mapping[str, Any]
    waiting: set[int]
    momentum: F32 | None = None
    """What u becomes where the part is applied."""
    stale: bool = False
    sent_at: float = 0.0
    wait: float = 0.0


class Pushing:
    """`resend`: seconds until an unanswered push is sent again; doubles to five times that. `piece`: see pieces.py."""

    def __init__(self, resend: float, correction: Correction | None = None, piece: int = PIECE) -> None:
        self.pending: Pending | None = None
        self._resend = resend
        self._piece = piece
        self._space: Space | None = None
        self._codecs: Sequence[SpanCodec] = ()
        self._e: F32 = np.zeros(0, np.float32)
        self._correction = correction
        self._u: F32 = np.zeros(0, np.float32)
        self._buffers: list[slice] = []
        self._sequence = 0
        self._w = 0.0

    def adopt(self, space: Space, codecs: Sequence[SpanCodec]) -> None:
        """Another branch: residual and pending push are worthless."""
        self._space, self._codecs = space, codecs
        self._e = np.zeros(space.size, np.float32)
        self._u = np.zeros(space.size if self._correction is not None else 0, np.float32)
        self._buffers = [slice(one.offset, one.stop) for one in space.segments if one.kind == "buffers"]
        self.pending = None

    def begin(
        self, lease: Lease, difference: F32, x: F32, integers: I64 | None, samples: int, stats: Mapping[str, Any]
    ) -> None:
        """Worker 4: e' = e + d; payload = compress(e'). `difference` is ours from here on.

        Of buffers the value itself is sent (rules.py says why): x - d. They are dense, so their e stays 0.
        """
        assert self._space is not None
        kept = difference
        if lease.zero:
            kept[:] = 0
        self._w = lease.w
        exact = all(codec.exact for codec in self._codecs)
        magnitudes = {
            span.index: _magnitude(kept[span.start : span.stop])
            for span in self._space.spans
            if not exact or any(run.kind == "buffers" for run in span.runs)
        }
        for buffer in self._buffers:
            np.subtract(x[buffer], kept[buffer], out=kept[buffer])
        if exact:
            self._begin(lease, samples, {}, self._e, magnitudes, integers, stats, kept)
            return
        momentum = self._corrected(kept) if self._correction is not None else None
        hows = self._hows(kept, lease.g) if self._correction is not None else {}
        precise = lease.caution is not None and lease.caution.precise
        before = kept.copy() if momentum is not None else kept
        parts: dict[int, Payload] = {}
        for span in self._space.spans:
            here = kept[span.start : span.stop]
            owed = self._e[span.start : span.stop] if momentum is None else None
            codec = self._codecs[span.index].precise if precise else self._codecs[span.index]
            parts[span.index] = codec.encode(here, here, owed, hows.get(span.index, AS_SET))
        self._begin(lease, samples, parts, kept, magnitudes, integers, stats)
        if momentum is not None and self.pending is not None:
            self.pending.momentum = masked(momentum, before, kept)

    def _corrected(self, kept: F32) -> F32:
        """Momentum correction: u' = m u + d, and `kept` becomes e + u'; buffers stay values."""
        assert self._correction is not None
        momentum = np.float32(self._correction.momentum) * self._u + kept
        values = [kept[buffer].copy() for buffer in self._buffers]
        np.add(self._e, momentum, out=kept)
        for buffer, value in zip(self._buffers, values, strict=True):
            kept[buffer], momentum[buffer] = value, 0
        return momentum

    def _hows(self, kept: F32, g: int) -> dict[int, list[How]]:
        """Global Top-K: one threshold over all pieces that it is for; `gradient` has one step a range, so g counts
        them."""
        assert self._correction is not None and self._space is not None
        places = [
            (span.index, number, slice(span.start + piece.start, span.start + piece.stop))
            for span in self._space.spans
            for number, piece in enumerate(self._codecs[span.index].pieces)
            if piece.method.method == "dgc"
        ]
        hows = {span.index: [AS_SET] * len(self._codecs[span.index].pieces) for span in self._space.spans}
        ratio = self._correction.ratio_at(g)
        for (index, number, _), how in zip(
            places, one_threshold(kept, [here for *_, here in places], ratio), strict=True
        ):
            hows[index][number] = how
        return hows

    def begin_residual(self) -> bool:
        """Worker 7: e dense, a sequence without a range, with the w of the last lease. False: e is zero."""
        assert self._space is not None
        if not self._e.any():
            return False
        parts: dict[int, Payload] = {
            span.index: self._codecs[span.index].encode_dense(self._e[span.start : span.stop])
            for span in self._space.spans
        }
        self._begin(None, 0, parts, np.zeros_like(self._e), {}, None, {})
        return True

    def _begin(
        self,
        lease: Lease | None,
        samples: int,
        parts: dict[int, Payload],
        kept: F32,
        magnitudes: dict[int, float],
        integers: I64 | None,
        stats: Mapping[str, Any],
        exact: F32 | None = None,
    ) -> None:
        """Worker 4: a range computed anew is a new sequence (1)."""
        assert self._space is not None
        spans = self._space.spans
        owed = {span.index: _magnitude(kept[span.start : span.stop]) for span in spans} if exact is None else {}
        self._sequence += 1
        self.pending = Pending(
            self._sequence,
            lease,
            self._w,
            samples,
            parts,
            kept,
            exact,
            owed,
            magnitudes,
            integers,
            stats,
            {span.index for span in spans},
            wait=self._resend,
        )

    def send(self, record: TermRecord, branch: int, now: float) -> Iterable[Effect]:
        """Worker 4: spans without an answer are sent again, same sequence and payload, to whoever hosts them now.

        Lazily: to be carried out before anything else is asked of this machine.
        """
        pending = self.pending
        if pending is None:
            return []
        pending.sent_at = now
        return self._send(pending, record, branch)

    def _send(self, pending: Pending, record: TermRecord, branch: int) -> Iterator[Effect]:
        """To all servers in turn, so that they work at the same time."""
        assert self._space is not None
        count = len(self._space.spans)
        ways = []
        for server in terms.servers(record):
            waiting = [span for span in terms.hosted(record, server, count) if span in pending.waiting]
            ways.append((server, pieces(self._parts(pending, waiting), self._piece)))
        while ways:
            for way in list(ways):
                server, groups = way
                group = next(groups, None)
                if group is None:
                    ways.remove(way)
                else:
                    yield Send(server, self._push(pending, record, branch, dict(group)))

    def _parts(self, pending: Pending, spans: Iterable[int]) -> Iterator[tuple[tuple[int, Payload], int]]:
        assert self._space is not None
        for index in spans:
            if pending.exact is None:
                payload = pending.parts[index]
            else:
                span = self._space.spans[index]
                values = pending.exact[span.start : span.stop]
                payload, magnitude = self._codecs[index].encode_summed(values)
                pending.magnitudes.setdefault(index, magnitude)
            yield (index, payload), len(payload)

    def _push(self, pending: Pending, record: TermRecord, branch: int, parts: dict[int, Payload]) -> Push:
        return Push(
            record.number,
            branch,
            pending.sequence,
            pending.lease,
            pending.w,
            pending.samples,
            parts,
            {span: pending.residuals.get(span, 0.0) for span in parts},
            {span: pending.magnitudes.get(span, 0.0) for span in parts},
            pending.integers if 0 in parts else None,
            pending.stats if 0 in parts else {},
        )

    def repeat(self, record: TermRecord, branch: int, now: float) -> Iterable[Effect]:
        """If nobody has answered for a while."""
        pending = self.pending
        if pending is None or now - pending.sent_at < pending.wait:
            return []
        pending.wait = min(pending.wait * 2, self._resend * 5)
        return self.send(record, branch, now)

    def take(self, answers: Answers, branch: int) -> Pending | None:
        """Worker 5: `applied`: e = e' - payload there; else e stays. Returns the push when each span has answered."""
        pending = self.pending
        if pending is None or answers.sequence != pending.sequence or answers.branch != branch:
            return None
        assert self._space is not None
        for index, answer in answers.answers.items():
            if index not in pending.waiting:
                continue
            pending.waiting.discard(index)
            if answer == "applied" and pending.exact is None:
                span = self._space.spans[index]
                self._e[span.start : span.stop] = pending.kept[span.start : span.stop]
                if pending.momentum is not None:
                    self._u[span.start : span.stop] = pending.momentum[span.start : span.stop]
            pending.stale |= answer == "stale"
        if pending.waiting:
            return None
        self.pending = None
        return pending


def _magnitude(values: F32) -> float:
    return float(np.abs(values).sum(dtype=np.float64))
