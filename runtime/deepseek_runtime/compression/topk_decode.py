"""The numba kernels that check and add Top-K: what topk_numpy.py reads, or refuses, they read or refuse alike.

`check_topk` walks the whole run before anything is added, allocates one chunk's positions and nothing that the
payload asks for. All that a kernel calls stands in its file on purpose: see jit.inner.
"""

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression.coding import F32
from deepseek_runtime.compression.form import (
    COUNT_BITS,
    ESCAPE,
    LARGEST_UNIT,
    STEP_RICE,
    STEPS,
    TOP_RICE,
    UNIT_BITS,
    UNIT_SHIFT,
)
from deepseek_runtime.compression.jit import FLOAT, FLOATS, INT, INTS_IN, WORDS_IN, inner, kernel
from deepseek_runtime.compression.masks import lowest

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

INFINITY = 0x7F800000
STEP_RICES = np.array([STEP_RICE.get(bits, 0) for bits in range(9)], np.int64)


@inner
def _get(words: U64, at: int, width: int) -> int:
    """Reads `width` bits (at most 62) at bit `at`."""
    shift = at & 63
    value = words[at >> 6] >> np.uint64(shift) | words[(at >> 6) + 1] << np.uint64(1) << np.uint64(63 - shift)
    return np.int64(value & ((np.uint64(1) << np.uint64(width)) - np.uint64(1)))  # type: ignore[return-value]


@inner
def _zeros(words: U64, at: int, bits: int, most: int) -> int:
    """How many zeros stand before the next 1; -1 if more than `most`, or if the bits end before it."""
    zeros = 0
    while zeros <= most and at + zeros < bits:
        window = _get(words, at + zeros, 62)
        if window:
            zeros += lowest(np.uint64(window))
            return zeros if zeros <= most and at + zeros < bits else -1
        zeros += 62
    return -1


@inner
def _get_count(words: U64, at: int, bits: int, size: int, kept: int, vary: int) -> tuple[int, int]:
    """How many values a chunk of `size` elements holds and the bit after that; (-1, 0) if malformed."""
    malformed = (-1, 0)
    if vary >= 0:
        quotient = _zeros(words, at, bits, size >> vary)
        at += quotient + 1
        if quotient < 0 or at + vary > bits:
            return malformed
        count = quotient << vary | _get(words, at, vary)
        return (count, at + vary) if count <= size else malformed
    if at + 1 > bits:
        return malformed
    if _get(words, at, 1):
        return (kept, at + 1) if kept <= size else malformed
    if at + 2 > bits:
        return malformed
    if _get(words, at, 2):
        return 0, at + 2
    if at + 2 + COUNT_BITS > bits:
        return malformed
    count = _get(words, at + 2, COUNT_BITS)
    return (count, at + 2 + COUNT_BITS) if 0 < count <= size else malformed


@inner
def _get_positions(words: U64, at: int, bits: int, size: int, count: int, rice: int, positions: I32) -> int:
    """Fills `positions` for one chunk; returns the bit after them, or -1 if malformed."""
    word, last, found = at >> 6, at - 1, 0
    window = words[word] >> np.uint64(at & 63) << np.uint64(at & 63)
    while found < count:
        while window and found < count:
            place = (word << 6) + lowest(window)
            window &= window - np.uint64(1)
            positions[found] = min(place - last - 1, size)
            last = place
            found += 1
        if found < count:
            word += 1
            if word << 6 >= bits:
                return -1
            window = words[word]
    at = last + 1
    if at + count * rice > bits:
        return -1
    last = -1
    for j in range(count):
        last += ((int(positions[j]) << rice) | _get(words, at, rice)) + 1
        positions[j] = min(last, size)
        at += rice
    return at if last < size else -1


@inner
def _get_unit(words: U64, at: int, bits: int, rice: int) -> tuple[int, int, bool]:
    """(difference, or the unit itself, the bit after it, which of the two); the bit is -1 if malformed."""
    quotient = _zeros(words, at, bits, ESCAPE)
    raw = quotient == ESCAPE
    width = UNIT_BITS if raw else rice
    at += quotient + 1
    if quotient < 0 or at + width > bits:
        return 0, -1, raw
    low = _get(words, at, width)
    return (low if raw else quotient << rice | low), at + width, raw


@inner
def _get_levels(words: U64, at: int, bits: int, value_bits: int, last: int, units: I64) -> int:
    """A chunk's levels from the top; returns the bit after them, or -1 if malformed."""
    for level in range(2 if value_bits == 8 else 1 << (value_bits - 1)):
        value, at, raw = _get_unit(words, at, bits, TOP_RICE if level == 0 else STEP_RICES[value_bits])
        if at < 0:
            return -1
        if raw:
            units[level] = value
        elif level == 0:
            units[0] = last + ((value >> 1) ^ -(value & 1))
        else:
            units[level] = units[level - 1] - value
        if units[level] < 0 or units[level] > LARGEST_UNIT or (level > 0 and units[level] > units[level - 1]):
            return -1
    return at


@inner
def _finite_values(words: U64, at: int, count: int, value_bits: int) -> bool:
    infinity = 0x7F80 if value_bits == 16 else INFINITY
    largest = 0
    for j in range(count):
        largest = max(largest, _get(words, at + j * value_bits, value_bits - 1))
    return largest < infinity


@kernel(INT, WORDS_IN, INT, INT, INT, INT, INTS_IN, INT, INT)
def check_topk(words: U64, bits: int, size: int, chunk: int, kept: int, rices: I64, value_bits: int, vary: int) -> int:
    """The bit after a run of `size` elements and its padding, or -1 if malformed."""
    positions = np.empty(chunk, np.int32)
    units = np.zeros(8, np.int64)
    at, last = 0, 0
    for start in range(0, size, chunk):
        elements = min(chunk, size - start)
        count, at = _get_count(words, at, bits, elements, kept, vary)
        if count < 0:
            return -1
        if count == 0:
            continue
        at = _get_positions(words, at, bits, elements, count, rices[count], positions)
        if at < 0:
            return -1
        if value_bits <= 8:
            at = _get_levels(words, at, bits, value_bits, last, units)
            if at < 0:
                return -1
            last = units[0]
        if at + count * value_bits > bits or (value_bits > 8 and not _finite_values(words, at, count, value_bits)):
            return -1
        at += count * value_bits
    padding = -at & 7
    return -1 if at + padding > bits or _get(words, at, padding) else at + padding


@kernel(INT, WORDS_IN, FLOATS, FLOAT, INT, INT, INTS_IN, INT, INT)
def add_topk(
    words: U64, target: F32, scale: np.float32, chunk: int, kept: int, rices: I64, value_bits: int, vary: int
) -> int:
    """Adds a checked run; returns the bit after it, without padding."""
    positions = np.empty(chunk, np.int32)
    units = np.zeros(8, np.int64)
    levels = np.empty(16, np.float32)
    bits = (words.size - 2) * 64
    at, last = 0, 0
    for start in range(0, target.size, chunk):
        piece = target[start : start + chunk]
        count, at = _get_count(words, at, bits, piece.size, kept, vary)
        if count == 0:
            continue
        at = _get_positions(words, at, bits, piece.size, count, rices[count], positions)
        if value_bits <= 8:
            at = _get_levels(words, at, bits, value_bits, last, units)
            last = units[0]
        if value_bits <= 4:
            for level in range(1 << (value_bits - 1)):
                magnitude = scale * np.uint32(units[level] << UNIT_SHIFT).view(np.float32)
                levels[2 * level], levels[2 * level + 1] = magnitude, -magnitude
            for j in range(count):
                piece[positions[j]] += levels[_get(words, at + value_bits * j, value_bits)]
        elif value_bits == 8:
            lower, way = units[1] << UNIT_SHIFT, (units[0] - units[1]) << UNIT_SHIFT
            for j in range(count):
                code = _get(words, at + 8 * j, 8)
                place = np.uint32(lower + ((code >> 1) * way + STEPS // 2) // STEPS).view(np.float32)
                piece[positions[j]] += scale * (-place if code & 1 else place)
        elif value_bits == 16:
            for j in range(count):
                half = np.uint32(_get(words, at + 16 * j, 16))
                piece[positions[j]] += scale * np.uint32(half << np.uint32(16)).view(np.float32)
        else:
            for j in range(count):
                value = np.uint32(_get(words, at + 32 * j, 32)).view(np.float32)
                piece[positions[j]] += scale * value
        at += count * value_bits
    return at
