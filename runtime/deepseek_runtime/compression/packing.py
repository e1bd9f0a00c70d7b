"""Bits in numpy: packed least significant bit first, within a byte and within a field.

The plain half of the pair; fast.py writes the same bits with 64-bit words.
"""

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression.errors import PayloadError

Bits = npt.NDArray[np.uint8]
"""One element a bit, 0 or 1."""
I64 = npt.NDArray[np.int64]


def fields(values: npt.NDArray[np.integer], width: int) -> Bits:
    """The low `width` bits of each value, one field after the other."""
    places = np.arange(width, dtype=np.int64)
    return ((values.astype(np.int64)[:, None] >> places) & 1).astype(np.uint8).reshape(-1)


def unary(quotients: I64) -> Bits:
    """Each quotient as so many zeros and a one."""
    ends = np.cumsum(quotients + 1) - 1
    bits = np.zeros(int(ends[-1]) + 1 if ends.size else 0, np.uint8)
    bits[ends] = 1
    return bits


def pack(bits: Bits) -> bytes:
    """Bytes, the last one filled up with zeros."""
    return np.packbits(bits, bitorder="little").tobytes()


class BitReader:
    """Reads fields from `data` (bytes) in order. Raises PayloadError where they end too soon."""

    def __init__(self, data: npt.NDArray[np.uint8]) -> None:
        self._bits: Bits = np.unpackbits(data, bitorder="little")
        self._at = 0

    def fields(self, count: int, width: int) -> I64:
        """`count` fields of `width` bits (at most 62)."""
        bits = self._take(count * width).reshape(count, width)
        return bits.astype(np.int64) @ (np.int64(1) << np.arange(width, dtype=np.int64))

    def field(self, width: int) -> int:
        return int(self.fields(1, width)[0])

    def unary(self, count: int, limit: int) -> I64:
        """`count` quotients whose sum is at most `limit`."""
        ends = np.flatnonzero(self._bits[self._at : self._at + count + limit])[:count]
        if ends.size < count:
            raise PayloadError("cut short or damaged: a position is missing")
        if count:
            self._at += int(ends[-1]) + 1
        return np.diff(ends, prepend=-1).astype(np.int64) - 1

    def finish(self) -> int:
        """Bytes read; the rest of the last one must be zeros."""
        if self._take(-self._at % 8).any():
            raise PayloadError("the padding at the end of a run is not zero")
        return self._at // 8

    def _take(self, count: int) -> Bits:
        if self._at + count > self._bits.size:
            raise PayloadError("cut short: the bits of a run are missing")
        self._at += count
        return self._bits[self._at - count : self._at]
