"""The numba kernels of dense pieces and of the quantisers: the same bytes as dense.py and quantised_numpy.py.

Importing this module compiles or loads them. All that a kernel calls stands in its file on purpose: see jit.inner.
"""

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression.coding import F32
from deepseek_runtime.compression.jit import (
    BOOL,
    BYTES,
    BYTES_IN,
    FLOAT,
    FLOATS,
    FLOATS_IN,
    HALVES,
    HALVES_IN,
    INT,
    NOTHING,
    inner,
    kernel,
)
from deepseek_runtime.compression.quantised import BLOCK

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]

INFINITY = 0x7F800000
"""As bits; every finite magnitude is less."""
PART = 1 << 12
"""Elements summed before they are looked at: they are still in the first cache."""


@kernel(INT, FLOATS_IN, FLOATS_IN, FLOATS, BOOL)
def total(values: F32, plus: F32, residual: F32, in_place: bool) -> int:
    """residual = values + plus (empty: nothing); returns where a sum is not finite, -1 if nowhere."""
    for start in range(0, residual.size, PART):
        here = residual[start : start + PART]
        given = values[start : start + PART]
        if plus.size and in_place:
            owed = plus[start : start + PART]
            for i in range(here.size):
                here[i] += owed[i]
        elif plus.size:
            owed = plus[start : start + PART]
            for i in range(here.size):
                here[i] = given[i] + owed[i]
        elif not in_place:
            for i in range(here.size):
                here[i] = given[i]
        bits = here.view(np.int32)
        largest = np.int32(0)
        for i in range(bits.size):
            largest = max(largest, np.int32(bits[i] & np.int32(0x7FFFFFFF)))
        if largest >= INFINITY:
            for i in range(bits.size):
                if bits[i] & 0x7FFFFFFF >= INFINITY:
                    return start + i
    return -1


@kernel(BOOL, FLOATS_IN)
def finite(values: F32) -> bool:
    bits = values.view(np.int32)
    largest = np.int32(0)
    for i in range(bits.size):
        largest = max(largest, np.int32(bits[i] & np.int32(0x7FFFFFFF)))
    return bool(largest < INFINITY)


@kernel(NOTHING, FLOATS_IN, FLOATS, FLOAT)
def add_float32(values: F32, target: F32, scale: np.float32) -> None:
    for i in range(target.size):
        target[i] += scale * values[i]


@inner
def _round(bits: np.uint32) -> np.uint32:
    """The upper half of a finite float32, rounded to nearest even, never to infinity."""
    rounded = np.uint32(bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.uint32(rounded - np.uint32((rounded & np.uint32(0x7FFF)) == np.uint32(0x7F80)))


@inner
def _widen(half: np.uint32) -> np.float32:
    return np.uint32(half << np.uint32(16)).view(np.float32)  # type: ignore[no-any-return, unused-ignore]


@kernel(NOTHING, FLOATS, HALVES)
def encode_bfloat16(residual: F32, halves: U16) -> None:
    bits = residual.view(np.uint32)
    for i in range(residual.size):
        half = _round(bits[i])
        halves[i] = half
        residual[i] -= _widen(half)


@kernel(BOOL, HALVES_IN)
def finite_bfloat16(halves: U16) -> bool:
    largest = 0
    for i in range(halves.size):
        largest = max(largest, halves[i] & 0x7FFF)
    return largest < 0x7F80


@kernel(NOTHING, HALVES_IN, FLOATS, FLOAT)
def add_bfloat16(halves: U16, target: F32, scale: np.float32) -> None:
    for i in range(target.size):
        target[i] += scale * _widen(np.uint32(halves[i]))


@inner
def _step(block: F32, value_bits: int) -> np.uint32:
    """A block's step as bfloat16: the mean magnitude for 1 bit, else the largest by 127 (7), rounded up."""
    bits = block.view(np.int32)
    largest = np.int32(0)
    for i in range(bits.size):
        largest = max(largest, np.int32(bits[i] & np.int32(0x7FFFFFFF)))
    if value_bits > 1:
        most = np.float32((1 << (value_bits - 1)) - 1)
        quotient = np.float32(np.uint32(largest).view(np.float32) / most)
        half = np.uint32((np.int64(quotient.view(np.uint32)) + 0xFFFF) >> 16)
        return half if np.isfinite(np.float32(_widen(half) * most)) else np.uint32(half - np.uint32(1))
    # Integers in units of 2^-40 of the largest's octave: their sum is the same in any order.
    top = max(int(largest) >> 23, 1)
    total = 0
    for i in range(bits.size):
        key = int(bits[i] & np.int32(0x7FFFFFFF))
        exponent = key >> 23
        mantissa = (key & 0x7FFFFF) | (int(exponent > 0) << 23)
        total += (mantissa << 16) >> min(top - max(exponent, 1), 40)
    mean = np.float64(total) / np.float64(block.size)
    scale = np.int64((top - 166 + 1023) << 52).view(np.float64)
    return _round(np.float32(mean * scale).view(np.uint32))


@kernel(NOTHING, FLOATS, HALVES, BYTES, INT)
def encode_quantised(residual: F32, steps: U16, codes: U8, value_bits: int) -> None:
    """Takes the values from `residual` and leaves the rest there; codes: zeroed."""
    most = np.float32((1 << (value_bits - 1)) - 1)
    scratch = np.empty(BLOCK, np.int32)
    for number in range(steps.size):
        block = residual[number * BLOCK : (number + 1) * BLOCK]
        half = _step(block, value_bits)
        steps[number] = half
        step = _widen(half)
        if value_bits == 1:
            bits = block.view(np.uint32)
            for i in range(block.size):
                scratch[i] = np.int32(bits[i] >> np.uint32(31))
                block[i] -= -step if scratch[i] else step
            out = codes[number * (BLOCK // 8) :]
            for i in range(block.size):
                out[i >> 3] |= np.uint8(scratch[i] << (i & 7))
            continue
        divisor = step if step > 0 else np.float32(1)
        for i in range(block.size):
            scratch[i] = np.int32(max(min(np.float32(np.rint(block[i] / divisor)), most), -most))
            block[i] -= np.float32(scratch[i]) * step
        if value_bits == 8:
            out = codes[number * BLOCK :]
            for i in range(block.size):
                out[i] = np.uint8(scratch[i])
        else:
            out = codes[number * (BLOCK // 2) :]
            for i in range(block.size):
                out[i >> 1] |= np.uint8((scratch[i] & 15) << ((i & 1) << 2))


@inner
def _code(codes: U8, i: int, value_bits: int) -> int:
    """The number (or sign, 0 or 1) of element i."""
    if value_bits == 8:
        return int((np.int64(codes[i]) ^ 128) - 128)
    if value_bits == 4:
        return int(((np.int64(codes[i >> 1]) >> ((i & 1) << 2) & 15) ^ 8) - 8)
    return int(np.int64(codes[i >> 3]) >> (i & 7) & 1)


@kernel(BOOL, HALVES_IN, BYTES_IN, INT, INT)
def check_quantised(steps: U16, codes: U8, size: int, value_bits: int) -> bool:
    for number in range(steps.size):
        if steps[number] >= 0x7F80:
            return False
        if value_bits > 1:
            step = _widen(np.uint32(steps[number]))
            largest = 0
            for i in range(number * BLOCK, min((number + 1) * BLOCK, size)):
                largest = max(largest, abs(_code(codes, i, value_bits)))
            if largest >> (value_bits - 1) or not np.isfinite(np.float32(np.float32(largest) * step)):
                return False
    rest = size * value_bits & 7
    return rest == 0 or codes[-1] >> rest == 0


@kernel(NOTHING, HALVES_IN, BYTES_IN, FLOATS, FLOAT, INT)
def add_quantised(steps: U16, codes: U8, target: F32, scale: np.float32, value_bits: int) -> None:
    for number in range(steps.size):
        step = _widen(np.uint32(steps[number]))
        start = number * BLOCK
        block = target[start : start + BLOCK]
        if value_bits == 8:
            here = codes[start:]
            for i in range(block.size):
                block[i] += scale * (np.float32(np.int8(here[i])) * step)
        elif value_bits == 4:
            for i in range(block.size):
                block[i] += scale * (np.float32(_code(codes, start + i, 4)) * step)
        else:
            for i in range(block.size):
                block[i] += scale * (-step if _code(codes, start + i, 1) else step)
