"""Dense forms: float32 as it is, and bfloat16 whose rounding error stays in the residual; their loops in numpy.

bfloat16 keeps float32's range, so nothing over- or underflows that did not before; rounding is to nearest, ties
to even, and a value that would round to infinity becomes the largest finite one.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression.coding import F32, U8, DenseKernels, How, Load
from deepseek_runtime.compression.errors import NonFinite, PayloadError
from deepseek_runtime.compression.header import Header

U16 = npt.NDArray[np.uint16]
BLOCK = 1 << 16
"""Elements worked on at once in numpy: no temporary as large as the vector."""
FLOAT32: Final = 0
BFLOAT16: Final = 1
"""Numbers of the forms."""


@dataclass(frozen=True, slots=True)
class Float32:
    """4 bytes an element; the residual becomes zero."""

    load: Load

    def encode(self, values: F32, plus: F32 | None, residual: F32, how: How) -> bytes:
        sum_into(self.load(), values, plus, residual)
        data = residual.astype("<f4", copy=False).tobytes()
        residual[:] = 0
        return Header(FLOAT32).pack() + data

    def check(self, data: U8, offset: int, size: int) -> int:
        end = end_of(data, offset, 4 * size)
        if not self.load().check_float32(data, offset, size):
            raise PayloadError("a float32 value is not finite")
        return end

    def add(self, data: U8, offset: int, target: F32, scale: np.float32) -> int:
        self.load().add_float32(data, offset, target, scale)
        return offset + 4 * target.size


@dataclass(frozen=True, slots=True)
class BFloat16:
    """2 bytes an element."""

    load: Load

    def encode(self, values: F32, plus: F32 | None, residual: F32, how: How) -> bytes:
        kernels = self.load()
        sum_into(kernels, values, plus, residual)
        return Header(BFLOAT16).pack() + kernels.encode_bfloat16(residual)

    def check(self, data: U8, offset: int, size: int) -> int:
        end = end_of(data, offset, 2 * size)
        if not self.load().check_bfloat16(data, offset, size):
            raise PayloadError("a bfloat16 value is not finite")
        return end

    def add(self, data: U8, offset: int, target: F32, scale: np.float32) -> int:
        self.load().add_bfloat16(data, offset, target, scale)
        return offset + 2 * target.size


def sum_into(kernels: DenseKernels, values: F32, plus: F32 | None, residual: F32) -> None:
    """residual = values + plus. Raises NonFinite."""
    index = kernels.total(values, plus, residual)
    if index >= 0:
        raise NonFinite(index)


def end_of(data: U8, offset: int, needed: int) -> int:
    """Where `needed` bytes end. Raises PayloadError if they are not there."""
    if offset + needed > data.size:
        raise PayloadError(f"cut short: {needed} bytes are due, {data.size - offset} are left")
    return offset + needed


def to_bfloat16(values: F32) -> U16:
    """The upper halves of float32 [n], rounded; values must be finite."""
    bits = values.view(np.uint32)
    rounded = ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)
    rounded[(rounded & 0x7FFF) == 0x7F80] -= np.uint16(1)
    return rounded


def from_bfloat16(halves: U16) -> F32:
    return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)


def total(values: F32, plus: F32 | None, residual: F32) -> int:
    for at in range(0, values.size, BLOCK):
        here = slice(at, at + BLOCK)
        if plus is None:
            residual[here] = values[here]
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                np.add(values[here], plus[here], out=residual[here])
        if not np.isfinite(residual[here]).all():
            return at + int(np.flatnonzero(~np.isfinite(residual[here]))[0])
    return -1


def check_float32(data: U8, offset: int, size: int) -> bool:
    values = _float32(data, offset, size)
    return all(bool(np.isfinite(values[at : at + BLOCK]).all()) for at in range(0, values.size, BLOCK))


def add_float32(data: U8, offset: int, target: F32, scale: np.float32) -> None:
    values = _float32(data, offset, target.size)
    for at in range(0, target.size, BLOCK):
        target[at : at + BLOCK] += scale * values[at : at + BLOCK]


def encode_bfloat16(residual: F32) -> bytes:
    halves = to_bfloat16(residual)
    residual -= from_bfloat16(halves)
    return halves.astype("<u2", copy=False).tobytes()


def check_bfloat16(data: U8, offset: int, size: int) -> bool:
    return bool(((_halves(data, offset, size) & 0x7FFF) < 0x7F80).all())


def add_bfloat16(data: U8, offset: int, target: F32, scale: np.float32) -> None:
    target += scale * from_bfloat16(_halves(data, offset, target.size))


def _float32(data: U8, offset: int, size: int) -> F32:
    return data[offset : offset + 4 * size].view("<f4")


def _halves(data: U8, offset: int, size: int) -> U16:
    return data[offset : offset + 2 * size].view("<u2").astype(np.uint16, copy=False)
