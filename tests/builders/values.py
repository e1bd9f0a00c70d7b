"""Values of every kind that a codec may meet, and spans to hold them; as hypothesis strategies."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from deepseek_runtime.compression import SpanCodec, codec_for
from deepseek_runtime.compression.form import VALUE_BITS, ValueBits
from deepseek_runtime.compression.pieces import MethodName
from deepseek_runtime.contract.config import Compression
from deepseek_runtime.space import CHUNK, KINDS, Kind, Run

F32 = npt.NDArray[np.float32]
QUANTISED_BITS: Final[tuple[ValueBits, ...]] = (1, 4, 8, 16)
Draw = Callable[[np.random.Generator, int], npt.NDArray[Any]]

MAX: Final = float(np.finfo(np.float32).max)


def _any_bits(rng: np.random.Generator, n: int) -> F32:
    values = rng.integers(0, 1 << 32, n, dtype=np.uint32).view(np.float32)
    return np.where(np.isfinite(values), values, np.float32(0))


SHAPES: Final[dict[str, Draw]] = {
    "gaussian": lambda rng, n: rng.standard_normal(n) * 1e-3,
    "tied": lambda rng, n: rng.integers(-2, 3, n) * 0.25,
    "constant": lambda rng, n: np.full(n, -0.1),
    "zero": lambda rng, n: np.zeros(n),
    "negative zero": lambda rng, n: np.full(n, -0.0),
    "nearly empty": lambda rng, n: np.where(rng.random(n) < 0.002, 1.0, 0.0),
    "denormal": lambda rng, n: rng.standard_normal(n) * 1e-42,
    "huge": lambda rng, n: rng.choice([-MAX, MAX, MAX * 0.999, 1.0], n),
    "every exponent": lambda rng, n: np.clip(10.0 ** rng.uniform(-44, 38, n), 0, MAX) * rng.choice([-1, 1], n),
    "rising": lambda rng, n: np.arange(n),
    "any bits": _any_bits,
}


def values_of(shape: str, size: int, seed: int = 0) -> F32:
    return SHAPES[shape](np.random.default_rng(seed), size).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """A span, its values and how they are compressed."""

    runs: tuple[Run, ...]
    values: F32
    settings: Compression
    chunk: int

    def codec(self, *, fast: bool) -> SpanCodec:
        return codec_for(self.runs, self.settings, fast=fast, chunk=self.chunk)


def span_of(*pieces: tuple[Kind, int], chunk: int = CHUNK) -> tuple[Run, ...]:
    """Runs of these kinds and sizes, one after the other as in a span."""
    runs, at = [], 0
    for kind, size in pieces:
        runs.append(Run(kind, 0, at, at + size))
        at += size + -size % chunk
    return tuple(runs)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    chunk = draw(st.sampled_from([1, 8, 100, CHUNK]))
    sizes = st.integers(1, 3 * chunk)
    pieces = draw(st.lists(st.tuples(st.sampled_from(KINDS), sizes), min_size=1, max_size=3))
    runs = span_of(*pieces, chunk=chunk)
    values = np.zeros(runs[-1].stop + -runs[-1].stop % chunk, np.float32)
    for run in runs:
        shape = draw(st.sampled_from(sorted(SHAPES)))
        values[run.start : run.stop] = values_of(shape, run.stop - run.start, draw(st.integers(0, 99)))
    methods: list[MethodName] = ["none", "topk", "topk", "topk", "quantised"]
    method = draw(st.sampled_from(methods))
    settings = Compression(
        method=method,
        ratio=draw(st.sampled_from([1e-6, 1 / 64, 0.05, 0.3, 1.0])),
        value_bits=draw(st.sampled_from(QUANTISED_BITS if method == "quantised" else VALUE_BITS)),
    )
    return Case(runs, values, settings, chunk)
