"""Method `quantised`: every value in 8, 4 or 1 bits, by blocks of 256 with a scale each; the rest in the residual.

    8, 4  a whole number from -127 to 127 (-7 to 7) times the block's step, which its largest magnitude decides
    1     a sign and the mean magnitude of the block (1-bit SGD, Seide 2014; with the residual it converges,
          Karimireddy 2019). It cannot say 0: a row whose gradient is always 0 swings about it
    16    bfloat16

Steps and means are bfloat16. Dense, so it needs no positions: for pushes that are not sparse (8 bits of a few
percent Top-K cost as little, and lose less).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from deepseek_runtime.compression.coding import F32, U8, Encoder, How, Load
from deepseek_runtime.compression.dense import BFloat16, end_of, sum_into
from deepseek_runtime.compression.errors import PayloadError
from deepseek_runtime.compression.header import Header
from deepseek_runtime.compression.pieces import Piece

QUANTISED: Final = 3
"""Number of the form."""
BLOCK: Final = 256


@dataclass(frozen=True, slots=True)
class Quantised:
    """First the steps of all blocks, 2 bytes each, then the codes of all values."""

    load: Load
    value_bits: int

    def encode(self, values: F32, plus: F32 | None, residual: F32, how: How) -> bytes:
        kernels = self.load()
        sum_into(kernels, values, plus, residual)
        return Header(QUANTISED, self.value_bits).pack() + kernels.encode_quantised(residual, self.value_bits)

    def check(self, data: U8, offset: int, size: int) -> int:
        end = end_of(data, offset, self._bytes(size))
        if not self.load().check_quantised(data, offset, size, self.value_bits):
            raise PayloadError("damaged: a step is negative or not finite, a code is one that nobody writes")
        return end

    def add(self, data: U8, offset: int, target: F32, scale: np.float32) -> int:
        self.load().add_quantised(data, offset, target, scale, self.value_bits)
        return offset + self._bytes(target.size)

    def _bytes(self, size: int) -> int:
        return 2 * -(-size // BLOCK) + -(-size * self.value_bits // 8)


def encoder(piece: Piece, load: Load, chunk: int) -> Encoder:
    bits = piece.method.value_bits
    return BFloat16(load) if bits == 16 else Quantised(load, bits)


def decoder(piece: Piece, header: Header, load: Load, chunk: int) -> Quantised:
    if header.small not in (1, 4, 8) or header.large:
        raise PayloadError(f"{header.small} bits a value in a quantised piece")
    return Quantised(load, header.small)
