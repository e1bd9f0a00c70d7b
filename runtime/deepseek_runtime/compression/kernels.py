"""The numba kernels: the same bytes as dense.py and topk_numpy.py, within a few copies of the memory limit.

Selection finds the k-th largest magnitude of a chunk by bisection over the floats' bits, which sort as integers:
each probe counts a chunk that lies in the first cache, with vector instructions; the last chunk's threshold is
where the search begins, and it ends at the first probe that leaves exactly k (about 12 probes). Exact, no worst
case beyond 31 probes, nothing to sort.

Importing this module compiles or loads everything (0.5 s from the cache). All in one file on purpose: see jit.inner.
"""

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression.coding import F32
from deepseek_runtime.compression.jit import (
    BOOL,
    FLOAT,
    FLOATS,
    FLOATS_IN,
    HALVES,
    HALVES_IN,
    INT,
    NOTHING,
    WORDS,
    WORDS_IN,
    inner,
    kernel,
)

U16 = npt.NDArray[np.uint16]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]

COUNT_BITS = 13
INFINITY = 0x7F800000
"""As bits; every finite magnitude is less."""
MARGIN = 1 << 20
"""An eighth of an octave, in bits of a float: how far a chunk's threshold is expected from the last one's."""


@kernel(BOOL, FLOATS_IN)
def finite(values: F32) -> bool:
    bits = values.view(np.int32)
    largest = np.int32(0)
    for i in range(bits.size):
        largest = max(largest, np.int32(bits[i] & 0x7FFFFFFF))
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


@kernel(NOTHING, FLOATS_IN, FLOATS, HALVES)
def encode_bfloat16(values: F32, residual: F32, halves: U16) -> None:
    bits = values.view(np.uint32)
    for i in range(values.size):
        half = _round(bits[i])
        halves[i] = half
        residual[i] = values[i] - _widen(half)


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
def _put(words: U64, at: int, value: int, width: int) -> int:
    """Writes `width` bits (at most 62) at bit `at` of zeroed words; returns the bit after them."""
    shift = at & 63
    words[at >> 6] |= np.uint64(value) << np.uint64(shift)
    if shift + width > 64:
        words[(at >> 6) + 1] |= np.uint64(value) >> np.uint64(64 - shift)
    return at + width


@inner
def _get(words: U64, at: int, width: int) -> int:
    """Reads `width` bits (at most 62) at bit `at`."""
    shift = at & 63
    value = words[at >> 6] >> np.uint64(shift) | words[(at >> 6) + 1] << np.uint64(1) << np.uint64(63 - shift)
    return np.int64(value & ((np.uint64(1) << np.uint64(width)) - np.uint64(1)))  # type: ignore[return-value]


@inner
def _put_fields(words: U64, at: int, values: I32, count: int, width: int) -> int:
    """`_put` of the first `count` values, none negative, through a register."""
    word, fill = at >> 6, at & 63
    full = words[word]
    for j in range(count):
        value = np.uint64(values[j])
        full |= value << np.uint64(fill)
        fill += width
        if fill >= 64:
            words[word] = full
            word += 1
            fill -= 64
            full = value >> np.uint64(width - fill)
    words[word] = full
    return at + count * width


@inner
def _count(keys: I32, size: int, threshold: int) -> int:
    bound = np.int32(threshold)
    count = np.int32(0)
    for i in range(size):
        count = np.int32(count + np.int32(keys[i] >= bound))
    return int(count)


@inner
def _threshold(keys: I32, size: int, limit: int, guess: int) -> tuple[int, int]:
    """(t, ties): the `limit` largest nonzero keys are those above t and the first `ties` of those equal to it."""
    if _count(keys, size, 1) <= limit:
        return 1, size
    low, high, above, probe = 1, INFINITY, 0, 0
    while high - low > 1:
        probe += 1
        middle = (low + high) >> 1
        if probe == 1 and low < guess - MARGIN < high:
            middle = guess - MARGIN
        elif probe == 2 and low < guess + MARGIN < high:
            middle = guess + MARGIN
        count = _count(keys, size, middle)
        if count == limit:
            return middle, size
        if count > limit:
            low = middle
        else:
            high, above = middle, count
    return low, limit - above


@inner
def _select(keys: I32, size: int, threshold: int, ties: int, positions: I32) -> int:
    """Ascending positions of what `_threshold` found; returns how many. `positions` has room for one more."""
    bound = np.int32(threshold)
    count = 0
    if ties >= size:
        for i in range(size):
            positions[count] = i
            count += int(keys[i] >= bound)
        return count
    for i in range(size):
        equal = int(keys[i] == bound) & int(ties > 0)
        ties -= equal
        positions[count] = i
        count += int(keys[i] > bound) | equal
    return count


@inner
def _put_positions(words: U64, at: int, positions: I32, count: int, rice: int, low_bits: I32) -> int:
    mask = (1 << rice) - 1
    last = -1
    for j in range(count):
        gap = positions[j] - last - 1
        last = positions[j]
        low_bits[j] = gap & mask
        at += gap >> rice
        words[at >> 6] |= np.uint64(1) << np.uint64(at & 63)
        at += 1
    return _put_fields(words, at, low_bits, count, rice)


@inner
def _put_levels(words: U64, at: int, residual: F32, keys: I32, positions: I32, count: int) -> int:
    """Two magnitudes and 2 bits a value. Overwrites the front of `keys`."""
    for j in range(count):
        keys[j] = keys[positions[j]]
    threshold, ties = _threshold(keys, count, (count + 1) // 2, keys[0])
    upper_sum, lower_sum, upper_count = 0.0, 0.0, 0
    for j in range(count):
        equal = int(keys[j] == threshold)
        upper = int(keys[j] > threshold) | (equal & int(ties > 0))
        ties -= equal
        value = residual[positions[j]]
        magnitude = np.float64(abs(value))
        upper_sum += magnitude if upper else 0.0
        lower_sum += 0.0 if upper else magnitude
        upper_count += upper
        keys[j] = int(value < 0) | (upper << 1)
    upper_half = _round(np.float32(upper_sum / upper_count).view(np.uint32))
    lower_half = _round(np.float32(lower_sum / max(count - upper_count, 1)).view(np.uint32))
    at = _put(words, at, int(upper_half), 16)
    at = _put(words, at, int(lower_half), 16)
    levels = _levels(upper_half, lower_half, np.float32(1))
    for j in range(count):
        residual[positions[j]] -= levels[keys[j]]
    return _put_fields(words, at, keys, count, 2)


@inner
def _levels(upper_half: np.uint32, lower_half: np.uint32, scale: np.float32) -> F32:
    """What the four 2-bit codes stand for."""
    upper, lower = scale * _widen(upper_half), scale * _widen(lower_half)
    levels = np.empty(4, np.float32)
    levels[0], levels[1], levels[2], levels[3] = lower, -lower, upper, -upper
    return levels


@kernel(INT, FLOATS, WORDS, INT, INT, INT, INT, INT)
def encode_topk(residual: F32, words: U64, chunk: int, kept: int, kept_last: int, rice: int, value_bits: int) -> int:
    """Takes the values from `residual` and leaves there what was not sent; returns the bits written."""
    keys = np.empty(chunk, np.int32)
    low_bits = np.empty(chunk, np.int32)
    positions = np.empty(chunk + 1, np.int32)
    at, guess = 0, 0
    for start in range(0, residual.size, chunk):
        piece = residual[start : start + chunk]  # a slice from 0: only so the loops become vector instructions
        bits = piece.view(np.int32)
        for i in range(bits.size):
            keys[i] = np.int32(bits[i] & np.int32(0x7FFFFFFF))
        limit = kept if start + chunk < residual.size else kept_last
        guess, ties = _threshold(keys, piece.size, limit, guess)
        count = _select(keys, piece.size, guess, ties, positions)
        if count == kept:
            at = _put(words, at, 1, 1)
        elif count == 0:
            at = _put(words, at, 2, 2)
            continue
        else:
            at = _put(words, at, count << 2, 2 + COUNT_BITS)
        at = _put_positions(words, at, positions, count, rice, low_bits)
        if value_bits == 2:
            at = _put_levels(words, at, piece, keys, positions, count)
            continue
        patterns = piece.view(np.uint32)
        for j in range(count):
            i = positions[j]
            if value_bits == 16:
                half = _round(patterns[i])
                at = _put(words, at, int(half), 16)
                piece[i] -= _widen(half)
            else:
                at = _put(words, at, int(patterns[i]), 32)
                piece[i] -= piece[i]
    return at


@inner
def _get_count(words: U64, at: int, bits: int, size: int, kept: int) -> tuple[int, int]:
    """How many values a chunk of `size` elements holds and the bit after that; (-1, 0) if malformed."""
    malformed = (-1, 0)
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
            lowest = window & (~window + np.uint64(1))
            place = (word << 6) + int(np.float64(lowest).view(np.int64) >> 52) - 1023  # a power of two: its exponent
            window ^= lowest
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
def _finite_values(words: U64, at: int, count: int, value_bits: int) -> bool:
    if value_bits == 2:
        return _get(words, at, 16) < 0x7F80 and _get(words, at + 16, 16) < 0x7F80
    infinity = 0x7F80 if value_bits == 16 else INFINITY
    largest = 0
    for j in range(count):
        largest = max(largest, _get(words, at + j * value_bits, value_bits - 1))
    return largest < infinity


@kernel(INT, WORDS_IN, INT, INT, INT, INT, INT, INT)
def check_topk(words: U64, bits: int, size: int, chunk: int, kept: int, rice: int, value_bits: int) -> int:
    """The bit after a run of `size` elements and its padding, or -1 if malformed."""
    positions = np.empty(chunk, np.int32)
    at = 0
    for start in range(0, size, chunk):
        elements = min(chunk, size - start)
        count, at = _get_count(words, at, bits, elements, kept)
        if count < 0:
            return -1
        if count == 0:
            continue
        at = _get_positions(words, at, bits, elements, count, rice, positions)
        if at < 0:
            return -1
        values = count * value_bits + (32 if value_bits == 2 else 0)
        if at + values > bits or not _finite_values(words, at, count, value_bits):
            return -1
        at += values
    padding = -at & 7
    return -1 if _get(words, at, padding) else at + padding


@kernel(INT, WORDS_IN, FLOATS, FLOAT, INT, INT, INT, INT)
def add_topk(words: U64, target: F32, scale: np.float32, chunk: int, kept: int, rice: int, value_bits: int) -> int:
    """Adds a checked run; returns the bit after it, without padding."""
    positions = np.empty(chunk, np.int32)
    bits = words.size * 64
    at = 0
    for start in range(0, target.size, chunk):
        piece = target[start : start + chunk]
        count, at = _get_count(words, at, bits, piece.size, kept)
        if count == 0:
            continue
        at = _get_positions(words, at, bits, piece.size, count, rice, positions)
        if value_bits == 2:
            levels = _levels(np.uint32(_get(words, at, 16)), np.uint32(_get(words, at + 16, 16)), scale)
            at += 32
            for j in range(count):
                piece[positions[j]] += levels[_get(words, at + 2 * j, 2)]
        elif value_bits == 16:
            for j in range(count):
                half = np.uint32(_get(words, at + 16 * j, 16))
                piece[positions[j]] += scale * _widen(half)
        else:
            for j in range(count):
                value = np.uint32(_get(words, at + 32 * j, 32)).view(np.float32)
                piece[positions[j]] += scale * value
        at += count * value_bits
    return at
