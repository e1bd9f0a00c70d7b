"""The job: the test task `tally` on a tiny parameter space, its codecs, and a rule that keeps the books of its span.

w of shape [rows, samples]; the difference of range g is +1 at each sample's place in each row, so that
theta[row, sample] = -(how often it counted), exactly, less what workers still owe (their residuals).
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression import PayloadError, SpanCodec, codec_for
from deepseek_runtime.compression.coding import AS_SET, How
from deepseek_runtime.contract.config import Compression
from deepseek_runtime.protocol.effects import PartData
from deepseek_runtime.protocol.span import SpanParts
from deepseek_runtime.ranges import RangePlan
from deepseek_runtime.space import Space, TensorSpec

F32 = npt.NDArray[np.float32]
Method = Literal["none", "sparse", "topk"]
ROWS, SAMPLES, CHUNK = 8, 8, 8
SPANS = 4
KEPT = 3


@cache
def space() -> Space:
    """Four spans of two rows; each row is one chunk."""
    return Space.build([TensorSpec("w", (ROWS, SAMPLES), "float32")], spans=SPANS, chunk=CHUNK)


@cache
def parsed() -> Space:
    """What members read from a table: the same one object, because reading it costs more than all the rest."""
    return Space.from_json(space().to_json())


@cache
def difference(plan: RangePlan, g: int) -> F32:
    """x - y of range g: [ROWS * SAMPLES]."""
    counts = np.zeros(SAMPLES, np.float32)
    for batch in plan.batches(g):
        np.add.at(counts, batch, np.float32(1))
    made = np.tile(counts, ROWS)
    made.flags.writeable = False
    return made


class TinyCodec:
    """As SpanCodec, for vectors of a few elements: dense, or the KEPT largest of a span, exactly."""

    def __init__(self, size: int, dense: bool) -> None:
        self.size = size
        self.dense_size = 1 + 4 * size
        self._dense = dense

    def encode(self, values: F32, residual: F32, plus: F32 | None = None, how: How | Sequence[How] = AS_SET) -> bytes:
        if plus is not None:
            values = np.add(values, plus, out=residual)
        if self._dense:
            payload = b"d" + values.tobytes()
            residual[:] = 0
            return payload
        order = np.argsort(-np.abs(values), kind="stable")[:KEPT]
        chosen = [int(at) for at in order if values[at] != 0]
        payload = b"s" + b"".join(struct.pack("<Hf", at, float(values[at])) for at in chosen)
        if residual is not values:
            residual[:] = values
        residual[chosen] = 0
        return payload

    @property
    def exact(self) -> bool:
        return self._dense

    def encode_dense(self, values: F32) -> bytes:
        return b"d" + values.tobytes()

    def encode_summed(self, values: F32) -> tuple[bytes, float]:
        return self.encode_dense(values), float(np.abs(values).sum())

    def put(self, payload: bytes | memoryview, target: F32) -> None:
        target[:] = self.decode(payload)

    def add(self, payload: bytes | memoryview, target: F32, scale: float = 1.0) -> None:
        data = bytes(payload)
        if data[:1] == b"d" and len(data) == self.dense_size:
            target += np.float32(scale) * np.frombuffer(data, np.float32, offset=1)
        elif data[:1] == b"s" and len(data) % 6 == 1:
            for at, value in struct.iter_unpack("<Hf", data[1:]):
                target[at] += np.float32(scale) * np.float32(value)
        else:
            raise PayloadError("no payload of this span")

    def decode(self, payload: bytes | memoryview) -> F32:
        values = np.zeros(self.size, np.float32)
        self.add(payload, values)
        return values


@cache
def codec(method: Method, index: int) -> SpanCodec:
    span = space().spans[index]
    if method == "topk":
        return codec_for(span.runs, Compression(method="topk", ratio=0.25, value_bits=32), fast=False, chunk=CHUNK)
    return cast(SpanCodec, TinyCodec(span.size, method == "none"))


@dataclass(slots=True)
class Made:
    """A push as its worker made it."""

    worker: str
    sequence: int
    g: int | None
    branch: int
    difference: F32
    kept: F32
    """What the worker owes where this push is applied."""
    w: float
    seen: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By span: (line, pushes applied in it) of the copy that was trained on."""
    stamp: int = 0
    done: int = 0


@dataclass(slots=True)
class Book:
    """What went into one span: by whom each range, what each worker owes it, and what is owed for good."""

    by: dict[int, tuple[str, int, float]] = field(default_factory=dict)
    """g -> (worker, sequence, w)"""
    total: F32 = field(default_factory=lambda: np.zeros(0, np.float32))
    owed: dict[str, F32] = field(default_factory=dict)
    lost: F32 = field(default_factory=lambda: np.zeros(0, np.float32))

    @classmethod
    def empty(cls, size: int) -> "Book":
        return cls(total=np.zeros(size, np.float32), lost=np.zeros(size, np.float32))

    def copy(self) -> "Book":
        return Book(dict(self.by), self.total.copy(), dict(self.owed), self.lost.copy())

    def all_owed(self) -> F32:
        total = self.lost.copy()
        for owed in self.owed.values():
            total += owed
        return total


def book_of(part: PartData) -> Book | None:
    """The books that travel with a part; None: of step 0, nothing went in yet."""
    return cast("Book | None", part.extra.get("book"))


def restored(part: PartData) -> PartData:
    """As a server reads it: what workers owed then is owed for good, for they throw it away."""
    book = book_of(part)
    if book is None:
        return part
    after = Book(dict(book.by), book.total.copy(), {}, book.all_owed())
    return replace(part, extra=cast(dict[str, F32], {"book": after}))


Applied = Callable[["TallyRule", float], Made]
"""Which push is being applied just now."""


class TallyRule:
    """The linear rule, with the books of its span; they travel through checkpoints like a rule's state."""

    def __init__(self, codec: SpanCodec, index: int, applied: Applied) -> None:
        self.index = index
        self.codec = codec
        self.book = Book.empty(space().spans[index].size)
        self._applied = applied

    def apply(self, theta: F32, payload: Any, w: float, lr: float, *, residual: bool = False) -> None:
        self.codec.add(payload, theta, -w)
        made = self._applied(self, w)
        span = space().spans[self.index]
        if made.g is not None:
            self.book.by[made.g] = (made.worker, made.sequence, w)
            self.book.total += np.float32(w) * made.difference[span.start : span.stop]
        self.book.owed[made.worker] = made.kept[span.start : span.stop]

    def published(self, theta: F32) -> F32:
        return theta

    def state(self) -> tuple[dict[str, F32], dict[str, float]]:
        return cast(dict[str, F32], {"book": self.book.copy()}), {}

    def load(self, arrays: dict[str, F32], scalars: dict[str, float]) -> None:
        book = cast("Book | None", arrays.get("book"))
        if book is not None:
            self.book = book.copy()


def span_parts(method: Method, index: int, applied: Applied) -> SpanParts:
    made = codec(method, index)
    return SpanParts(made, TallyRule(made, index, applied), lambda g: 1.0, method == "none")
