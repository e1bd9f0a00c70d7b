"""Method `topk`: of each chunk of the weights the largest few values, the rest stays in the residual.

Per chunk of 4,096 the k values of largest magnitude (the lower index first among equals; zeros are never sent),
as Rice-coded gaps between their positions and, by `value_bits`,

    32  float32, exact
    16  bfloat16: float32's range, so it needs no scale; its rounding error goes into the residual, where a finer
        format would gain nothing
     8  a sign and one of 128 magnitudes, in equal steps of the floats' bits between the chunk's smallest and largest
        kept one: logarithmic within an octave's precision, under 0.4 % off for Gaussian values
    4, 3, 2, 1
        a sign and one of 8, 4, 2, 1 magnitudes, the means of as many groups of equal size ("statistical" levels of
        MuLoCo, 2505.23725: linear ones are measurably worse)

(SparseLoCo, 2508.15706; chunks, k and the measurements: docs/architecture.) With a cut the threshold is one for the
whole vector (Deep Gradient Compression, 1712.01887), so counts vary from chunk to chunk and are coded as they are.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression.coding import F32, U8, Encoder, How, Load
from deepseek_runtime.compression.errors import PayloadError
from deepseek_runtime.compression.form import VALUE_BITS, count_rice, keep, rice_parameter, rice_table
from deepseek_runtime.compression.header import Header
from deepseek_runtime.compression.pieces import Piece

TOPK: Final = 2
"""Number of the form."""
VARY: Final = 1 << 7
"""Bit of the header's first parameter: counts vary. Below it the code of the value bits, then 4 bits: Rice of gaps."""


@dataclass(frozen=True, slots=True)
class TopK:
    """What one header says. kept: values of a full chunk, or about so many where counts vary."""

    load: Load
    chunk: int
    kept: int
    value_bits: int
    rice: int
    vary: bool

    def check(self, data: U8, offset: int, size: int) -> int:
        end = self.load().check_topk(
            data, offset, size, self.chunk, self.kept, self.rices, self.value_bits, self.counts
        )
        if end < 0:
            raise PayloadError("cut short or damaged: a chunk of sparse values cannot be read")
        return end

    def add(self, data: U8, offset: int, target: F32, scale: np.float32) -> int:
        return self.load().add_topk(
            data, offset, target, scale, self.chunk, self.kept, self.rices, self.value_bits, self.counts
        )

    @property
    def rices(self) -> npt.NDArray[np.int64]:
        return rice_table(self.chunk) if self.vary else np.full(self.chunk + 1, self.rice, np.int64)

    @property
    def counts(self) -> int:
        return count_rice(self.kept) if self.vary else -1

    def header(self) -> Header:
        small = VALUE_BITS.index(self.value_bits) << 4 | self.rice | (VARY if self.vary else 0)
        return Header(TOPK, small, self.kept)


@dataclass(frozen=True, slots=True)
class TopKEncoder:
    load: Load
    chunk: int
    ratio: float
    value_bits: int

    def encode(self, values: F32, plus: F32 | None, residual: F32, how: How) -> bytes:
        ratio = self.ratio if how.ratio is None else how.ratio
        kept = keep(ratio, self.chunk)
        kept_last = keep(ratio, values.size % self.chunk or self.chunk)
        vary = how.cut is not None
        form = TopK(self.load, self.chunk, kept, self.value_bits, 0 if vary else rice_parameter(kept, self.chunk), vary)
        body = self.load().encode_topk(
            values,
            plus,
            residual,
            self.chunk,
            kept,
            kept_last,
            form.rices,
            self.value_bits,
            form.counts,
            how.cut,
        )
        return form.header().pack() + body


def encoder(piece: Piece, load: Load, chunk: int) -> Encoder:
    return TopKEncoder(load, chunk, piece.method.ratio, piece.method.value_bits)


def decoder(piece: Piece, header: Header, load: Load, chunk: int) -> TopK:
    rice, bits, vary = header.small & 15, header.small >> 4 & 7, bool(header.small & VARY)
    if bits >= len(VALUE_BITS) or rice >= 12 or (vary and rice) or not 1 <= header.large <= chunk:
        raise PayloadError(f"{header.large} values of {chunk} with the parameter {header.small:#04x} are no Top-K")
    return TopK(load, chunk, header.large, VALUE_BITS[bits], rice, vary)
