"""Top-K of a run in plain numpy, chunk by chunk: what the payload means. topk_encode.py must give the same bytes.

A chunk is: its count; for each kept position the quotient of its gap in unary; the gaps' low bits; the levels of
values of 8 bits and fewer, from the top; the values. topk_numpy_decode.py reads it back.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression.coding import F32, Cut
from deepseek_runtime.compression.dense import from_bfloat16, to_bfloat16
from deepseek_runtime.compression.errors import NonFinite
from deepseek_runtime.compression.form import (
    COUNT_BITS,
    ESCAPE,
    LARGEST_UNIT,
    LEVELS,
    STEP_RICE,
    STEPS,
    TOP_RICE,
    UNIT_BITS,
    UNIT_SHIFT,
)
from deepseek_runtime.compression.packing import Bits, fields, pack, unary

I64 = npt.NDArray[np.int64]


def encode_topk(
    values: F32,
    plus: F32 | None,
    residual: F32,
    chunk: int,
    kept: int,
    kept_last: int,
    rices: I64,
    value_bits: int,
    vary: int,
    cut: Cut | None,
) -> bytes:
    bits: list[Bits] = []
    last = 0
    ties = cut.ties if cut is not None else 0
    for start in range(0, values.size, chunk):
        stop = min(start + chunk, values.size)
        piece = values[start:stop].copy()
        if plus is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                piece += plus[start:stop]
        if not np.isfinite(piece).all():
            raise NonFinite(start + int(np.flatnonzero(~np.isfinite(piece))[0]))
        keys = magnitude_bits(piece)
        if cut is None:
            positions = select(keys, kept if stop < values.size else kept_last)
        else:
            equal = np.flatnonzero(keys == cut.threshold)[:ties]
            ties -= equal.size
            positions = np.sort(np.concatenate([np.flatnonzero(keys > cut.threshold), equal]))
        bits += _count_bits(positions.size, kept, vary)
        if positions.size:
            rice = int(rices[positions.size])
            gaps = np.diff(positions, prepend=-1) - 1
            bits += [unary(gaps >> rice), fields(gaps & ((1 << rice) - 1), rice)]
            sent, value_fields, last = _encode_values(piece[positions], value_bits, last)
            bits += value_fields
            piece[positions] -= sent
        residual[start:stop] = piece
    return pack(np.concatenate(bits))


def select(magnitudes: I64, limit: int) -> I64:
    """Positions, ascending, of the `limit` largest nonzero magnitudes; the lower position first among equals."""
    largest = np.argsort(-magnitudes, kind="stable")[:limit]
    return np.sort(largest[magnitudes[largest] > 0])


def magnitude_bits(values: F32) -> I64:
    """Integers in the order of |values|."""
    return (values.view(np.uint32) & np.uint32(0x7FFFFFFF)).astype(np.int64)


def floats_of(bits: I64) -> F32:
    return bits.astype(np.uint32).view(np.float32)


def _count_bits(count: int, kept: int, vary: int) -> list[Bits]:
    if vary >= 0:
        return [unary(np.array([count >> vary])), fields(np.array([count & ((1 << vary) - 1)]), vary)]
    if count == kept:
        return [np.array([1], np.uint8)]
    if count == 0:
        return [np.array([0, 1], np.uint8)]
    return [np.array([0, 0], np.uint8), fields(np.array([count]), COUNT_BITS)]


def _encode_values(values: F32, value_bits: int, last: int) -> tuple[F32, list[Bits], int]:
    """What the decoder will see, its bits, and the chunk's top level."""
    if value_bits == 32:
        return values, [fields(values.view(np.uint32), 32)], last
    if value_bits == 16:
        halves = to_bfloat16(values)
        return from_bfloat16(halves), [fields(halves, 16)], last
    keys = magnitude_bits(values)
    if value_bits == 8:
        units, index, sent = _scale(keys)
    else:
        units, index, sent = _groups(keys, LEVELS[value_bits])
    bits = [_unit_bits(_zigzag(units[0] - last), TOP_RICE, units[0])]
    for above, unit in pairwise(units):
        bits.append(_unit_bits(above - unit, STEP_RICE[value_bits], unit))
    signs = np.signbit(values)
    codes = signs.astype(np.int64) | (index << 1)
    return np.where(signs, -sent, sent), [*bits, fields(codes, value_bits)], units[0]


def _groups(keys: I64, groups: int) -> tuple[list[int], I64, F32]:
    """Groups of equal size from the largest to the smallest, and the mean of each ("statistical" levels)."""
    ranks = np.empty(keys.size, np.int64)
    ranks[np.argsort(-keys, kind="stable")] = np.arange(keys.size)
    # A group begins at the rank ceil(size * group / groups).
    begins = -(-keys.size * np.arange(groups) // groups)
    index = np.searchsorted(begins, ranks, side="right").astype(np.int64) - 1
    top = max(int(keys.max()) >> 23, 1)
    terms = _terms(keys, top)
    units: list[int] = []
    for group in range(groups):
        members = terms[index == group]
        units.append(_unit_of_mean(int(members.sum()), members.size, top) if members.size else units[-1])
    return units, index, floats_of(np.array(units)[index] << UNIT_SHIFT)


def _terms(keys: I64, top: int) -> I64:
    """Magnitudes in units of 2^-40 of the octave `top`: integers, whose sum is the same in any order."""
    exponents = keys >> 23
    mantissas = (keys & 0x7FFFFF) | ((exponents > 0).astype(np.int64) << 23)
    terms: I64 = (mantissas << 16) >> np.minimum(top - np.maximum(exponents, 1), 40)
    return terms


def _mean(total: int, count: int, top: int) -> np.float32:
    return np.float32(np.ldexp(np.float64(total) / np.float64(count), top - 166))


def mean_of(keys: I64) -> np.float32:
    """The mean of magnitudes given as bits, the same in whatever order they are added."""
    top = max(int(keys.max()) >> 23, 1)
    return _mean(int(_terms(keys, top).sum()), keys.size, top)


def _unit_of_mean(total: int, count: int, top: int) -> int:
    bits = int(_mean(total, count, top).view(np.uint32))
    return min((bits + (1 << (UNIT_SHIFT - 1))) >> UNIT_SHIFT, LARGEST_UNIT)


def _scale(keys: I64) -> tuple[list[int], I64, F32]:
    """The top and the bottom, and in how many of STEPS equal steps of the floats' bits a value lies between."""
    top = min((int(keys.max()) + (1 << UNIT_SHIFT) - 1) >> UNIT_SHIFT, LARGEST_UNIT)
    bottom = int(keys.min()) >> UNIT_SHIFT
    lower, way = bottom << UNIT_SHIFT, (top - bottom) << UNIT_SHIFT
    steps = np.minimum(((keys - lower) * STEPS + (way >> 1)) // max(way, 1), STEPS)
    return [top, bottom], steps, floats_of(scale_bits(top, bottom, steps))


def scale_bits(top: int, bottom: int, steps: I64) -> I64:
    """What a place on the scale stands for, as a float's bits."""
    lower, way = bottom << UNIT_SHIFT, (top - bottom) << UNIT_SHIFT
    return lower + (steps * way + STEPS // 2) // STEPS


def _zigzag(difference: int) -> int:
    return 2 * difference if difference >= 0 else -2 * difference - 1


def _unit_bits(difference: int, rice: int, unit: int) -> Bits:
    """A difference in Rice code, or the unit itself where that is too long."""
    quotient = min(difference >> rice, ESCAPE)
    low, width = (unit, UNIT_BITS) if quotient == ESCAPE else (difference & ((1 << rice) - 1), rice)
    return np.concatenate([unary(np.array([quotient])), fields(np.array([low]), width)])
