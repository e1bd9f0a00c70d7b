"""The numba kernel that encodes Top-K: the same bytes as topk_numpy.py, within a few copies of the memory limit.

One pass over each chunk adds the residual, looks for what is not finite and leaves the magnitudes, as integers, in the
first cache. Selection then begins with what reaches a bound a little below the last chunk's threshold: 64 compared at
once, so few are left (about a third more than are kept) among which bisection finds the exact threshold. Where the
bound was too high, bisection goes over the whole chunk. Exact, whatever the bound.

All that a kernel calls stands in its file on purpose: see jit.inner.
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
from deepseek_runtime.compression.jit import BOOL, FLOATS, FLOATS_IN, INT, INTS_IN, WORDS, inner, kernel
from deepseek_runtime.compression.masks import lowest, reach

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

INFINITY = 0x7F800000
"""As bits; every finite magnitude is less."""
MARGIN = 1 << 19
"""A sixteenth of an octave, in bits of a float: how far below the last threshold the search begins."""
STEP_RICES = np.array([STEP_RICE.get(bits, 0) for bits in range(9)], np.int64)


@inner
def _put(words: U64, at: int, value: int, width: int) -> int:
    """Writes `width` bits (at most 62) at bit `at` of zeroed words; returns the bit after them."""
    shift = at & 63
    words[at >> 6] |= np.uint64(value) << np.uint64(shift)
    if shift + width > 64:
        words[(at >> 6) + 1] |= np.uint64(value) >> np.uint64(64 - shift)
    return at + width


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
def _put_positions(words: U64, at: int, positions: I32, count: int, rice: int, low_bits: I32) -> int:
    mask = (1 << rice) - 1
    word, full, last = at >> 6, words[at >> 6], -1
    for j in range(count):
        gap = positions[j] - last - 1
        last = positions[j]
        low_bits[j] = gap & mask
        at += gap >> rice
        if at >> 6 != word:
            words[word] = full
            word, full = at >> 6, np.uint64(0)
        full |= np.uint64(1) << np.uint64(at & 63)
        at += 1
    words[word] = full
    return _put_fields(words, at, low_bits, count, rice)


@inner
def _put_unit(words: U64, at: int, difference: int, rice: int, unit: int) -> int:
    """A level as its difference (not negative), or as it is where that is too long."""
    quotient = difference >> rice
    if quotient < ESCAPE:
        low = difference & ((1 << rice) - 1)
        return _put(words, at, (1 | low << 1) << quotient, quotient + 1 + rice)
    return _put(words, at, (1 | unit << 1) << ESCAPE, ESCAPE + 1 + UNIT_BITS)


@inner
def _put_top(words: U64, at: int, unit: int, last: int) -> int:
    difference = unit - last
    return _put_unit(words, at, (difference << 1) ^ (difference >> 63), TOP_RICE, unit)


@inner
def _put_count(words: U64, at: int, count: int, kept: int, vary: int) -> int:
    if vary >= 0:
        quotient = count >> vary
        at = _put(words, at + quotient, 1, 1)
        return _put(words, at, count & ((1 << vary) - 1), vary)
    if count == kept:
        return _put(words, at, 1, 1)
    if count == 0:
        return _put(words, at, 2, 2)
    return _put(words, at, count << 2, 2 + COUNT_BITS)


@inner
def _count(keys: I32, size: int, threshold: int) -> int:
    bound = np.int32(threshold)
    count = np.int32(0)
    for i in range(size):
        count = np.int32(count + np.int32(keys[i] >= bound))
    return int(count)


@inner
def _threshold(keys: I32, size: int, limit: int, guess: int) -> tuple[int, int]:
    """(t, ties): the `limit` largest nonzero keys are those above t and the first `ties` of those equal to it.

    `keys` has room for 32 more, which it fills with -1: so no count has a rest that is no whole vector.
    """
    for i in range(size, size + 32):
        keys[i] = -1
    whole = (size + 31) & ~31
    low, high, above, probe = 1, INFINITY, 0, guess
    if _count(keys, whole, 1) <= limit:
        return 1, size
    while high - low > 1:
        if not low < probe < high:
            probe = (low + high) >> 1
        count = _count(keys, whole, probe)
        if count == limit:
            return probe, size
        if count > limit:
            low, probe = probe, probe + MARGIN
        else:
            high, above, probe = probe, count, probe - MARGIN
        if high - low < 4 * MARGIN:
            probe = 0
    return low, limit - above


@inner
def _gather(keys: I32, size: int, bound: int, positions: I32, found: I32) -> int:
    """Ascending positions of the keys that reach `bound`, and those keys; `keys` is readable up to a multiple of 64
    and less than the bound there."""
    count = 0
    for start in range(0, size, 64):
        mask = reach(keys, start, np.int32(bound))
        while mask:
            i = start + lowest(mask)
            mask &= mask - np.uint64(1)
            positions[count] = i
            found[count] = keys[i]
            count += 1
    return count


@inner
def _keep(found: I32, positions: I32, size: int, threshold: int, ties: int) -> int:
    """Leaves in `positions` and `found` what `_threshold` found; returns how many."""
    bound = np.int32(threshold)
    count = 0
    for j in range(size):
        key, position = found[j], positions[j]
        equal = int(key == bound) & int(ties > 0)
        ties -= equal
        found[count], positions[count] = key, position
        count += int(key > bound) | equal
    return count


@inner
def _terms(found: I32, count: int, top: int, terms: I64) -> None:
    """Magnitudes in units of 2^-40 of the octave `top`: integers, whose sum is the same in any order."""
    for j in range(count):
        key = int(found[j])
        exponent = key >> 23
        mantissa = (key & 0x7FFFFF) | (int(exponent > 0) << 23)
        terms[j] = (mantissa << 16) >> min(top - max(exponent, 1), 40)


@inner
def _unit_of_mean(total: int, count: int, top: int) -> int:
    """The unit nearest to the mean of `count` magnitudes whose `_terms` sum up to `total`."""
    mean = np.float64(total) / np.float64(count)
    # 2^(top - 150 - 16), exactly: the upper bits of a float64 are its exponent.
    scale = np.int64((top - 166 + 1023) << 52).view(np.float64)
    bits = int(np.int64(np.float32(mean * scale).view(np.uint32)))
    return min((bits + (1 << (UNIT_SHIFT - 1))) >> UNIT_SHIFT, LARGEST_UNIT)


@inner
def _split(found: I32, count: int, inside: int, guess: int, codes: I32) -> int:
    """Adds 1 to the codes of all but the `inside` largest; returns the threshold between."""
    threshold, ties = _threshold(found, count, inside, guess)
    bound = np.int32(threshold)
    if ties >= count:
        for j in range(count):
            codes[j] += np.int32(found[j] < bound)
        return threshold
    for j in range(count):
        equal = int(found[j] == bound) & int(ties > 0)
        ties -= equal
        codes[j] += 1 - (int(found[j] > bound) | equal)
    return threshold


@inner
def _put_groups(
    words: U64,
    at: int,
    piece: F32,
    found: I32,
    positions: I32,
    count: int,
    value_bits: int,
    last: int,
    codes: I32,
    terms: I64,
) -> tuple[int, int]:
    """Levels, then sign and level of each value; returns the bit after them and the top level."""
    groups = 1 << (value_bits - 1)
    largest = np.int32(0)
    for j in range(count):
        codes[j] = 0
        largest = max(largest, found[j])
    guess = int(largest) - 2 * MARGIN
    for boundary in range(1, groups):
        inside = (count * boundary + groups - 1) // groups
        if inside >= count:
            break
        guess = _split(found, count, inside, guess, codes) - MARGIN // 2
    top = max(int(largest) >> 23, 1)
    _terms(found, count, top, terms)
    levels = np.empty(8, np.float32)
    unit, first = 0, 0
    for group in range(groups):
        total, members = 0, 0
        for j in range(count):
            inside = int(codes[j] == group)
            total += int(terms[j]) * inside
            members += inside
        above = unit
        if members > 0:
            unit = _unit_of_mean(total, members, top)
        levels[group] = np.uint32(unit << UNIT_SHIFT).view(np.float32)
        if group == 0:
            first = unit
            at = _put_top(words, at, unit, last)
        else:
            at = _put_unit(words, at, above - unit, STEP_RICES[value_bits], unit)
    bits, level_bits = piece.view(np.uint32), levels.view(np.uint32)
    for j in range(count):
        i = positions[j]
        sign = bits[i] & np.uint32(0x80000000)
        piece[i] -= np.uint32(level_bits[codes[j]] | sign).view(np.float32)
        codes[j] = np.int32(sign >> np.uint32(31)) | codes[j] << 1
    return _put_fields(words, at, codes, count, value_bits), first


@inner
def _put_scale(
    words: U64, at: int, piece: F32, found: I32, positions: I32, count: int, last: int, codes: I32
) -> tuple[int, int]:
    """8 bits: sign and place between the smallest and the largest, in equal steps of the floats' bits."""
    smallest, largest = INFINITY, 0
    for j in range(count):
        smallest, largest = min(smallest, found[j]), max(largest, found[j])
    top = min((largest + (1 << UNIT_SHIFT) - 1) >> UNIT_SHIFT, LARGEST_UNIT)
    bottom = smallest >> UNIT_SHIFT
    at = _put_top(words, at, top, last)
    at = _put_unit(words, at, top - bottom, STEP_RICES[8], bottom)
    lower, way = np.int64(bottom) << UNIT_SHIFT, np.int64(top - bottom) << UNIT_SHIFT
    for j in range(count):
        step = min(((found[j] - lower) * STEPS + (way >> 1)) // max(way, 1), STEPS)
        level = np.uint32(lower + (step * way + STEPS // 2) // STEPS).view(np.float32)
        value = piece[positions[j]]
        piece[positions[j]] = value - (-level if value < 0 else level)
        codes[j] = int(value < 0) | step << 1
    return _put_fields(words, at, codes, count, 8), top


@inner
def _put_floats(words: U64, at: int, piece: F32, positions: I32, count: int, value_bits: int) -> int:
    patterns = piece.view(np.uint32)
    for j in range(count):
        i = positions[j]
        bits = int(np.int64(patterns[i]))
        if value_bits == 32:
            at = _put(words, at, bits, 32)
            piece[i] -= piece[i]
            continue
        half = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        half -= int((half & 0x7FFF) == 0x7F80)
        at = _put(words, at, half, 16)
        piece[i] -= np.uint32(half << 16).view(np.float32)
    return at


@inner
def _load(values: F32, plus: F32, residual: F32, start: int, stop: int, in_place: bool, keys: I32) -> int:
    """residual = values (+ plus) for one chunk, its magnitudes as integers in `keys`; returns the largest.

    Loops of their own where two arrays are one: only over arrays that are apart they become vector instructions.
    """
    here = residual[start:stop]
    given = values[start:stop]
    bits = here.view(np.int32)
    largest = np.int32(0)
    if plus.size and in_place:
        owed = plus[start:stop]
        for i in range(here.size):
            here[i] += owed[i]
    elif plus.size:
        owed = plus[start:stop]
        for i in range(here.size):
            here[i] = given[i] + owed[i]
    elif not in_place:
        for i in range(here.size):
            here[i] = given[i]
    for i in range(bits.size):
        key = np.int32(bits[i] & np.int32(0x7FFFFFFF))
        keys[i] = key
        largest = max(largest, key)
    return int(largest)


@kernel(INT, FLOATS_IN, FLOATS_IN, FLOATS, WORDS, BOOL, INT, INT, INT, INTS_IN, INT, INT, INT, INT)
def encode_topk(
    values: F32,
    plus: F32,
    residual: F32,
    words: U64,
    in_place: bool,
    chunk: int,
    kept: int,
    kept_last: int,
    rices: I64,
    value_bits: int,
    vary: int,
    threshold: int,
    ties: int,
) -> int:
    """residual = values + plus - what was written to `words` (zeroed); plus: empty, or as long as values.

    rices: Rice parameter of gaps, by count. vary: -1, or that of counts. threshold: 0: select in each chunk; else the
    bits of the least magnitude that is sent, of those equal to it the first `ties`.
    Returns the bits written; -1 - i if element i, or one later in its chunk, is not finite: `residual` is then void.
    """
    room = chunk + 64
    keys = np.full(room, -1, np.int32)
    found = np.empty(room, np.int32)
    positions = np.empty(room, np.int32)
    codes = np.empty(room, np.int32)
    terms = np.empty(room, np.int64)
    at, guess, last = 0, 0, 0
    for start in range(0, values.size, chunk):
        stop = min(start + chunk, values.size)
        size = stop - start
        largest = _load(values, plus, residual, start, stop, in_place, keys)
        if largest >= INFINITY:
            return -1 - start
        for i in range(size, size + 64):
            keys[i] = -1
        limit = kept if stop < values.size else kept_last
        if threshold > 0:
            count = 0
            if largest >= threshold:
                count = _gather(keys, size, threshold, positions, found)
            before = count
            count = _keep(found, positions, count, threshold, ties)
            above = 0
            for j in range(count):
                above += int(found[j] > threshold)
            ties -= count - above
            assert before >= count
        else:
            bound = max(guess - MARGIN, 1)
            count = _gather(keys, size, bound, positions, found) if guess > 0 and largest >= bound else 0
            if count < limit:
                bound, _ = _threshold(keys, size, limit, guess)
                count = _gather(keys, size, bound, positions, found)
            if count > limit:
                guess, equal = _threshold(found, count, limit, guess)
                count = _keep(found, positions, count, guess, equal)
            else:
                guess = bound
        at = _put_count(words, at, count, kept, vary)
        if count == 0:
            continue
        at = _put_positions(words, at, positions, count, rices[count], codes)
        piece = residual[start:stop]
        if value_bits <= 4:
            at, last = _put_groups(words, at, piece, found, positions, count, value_bits, last, codes, terms)
        elif value_bits == 8:
            at, last = _put_scale(words, at, piece, found, positions, count, last, codes)
        else:
            at = _put_floats(words, at, piece, positions, count, value_bits)
    return at
