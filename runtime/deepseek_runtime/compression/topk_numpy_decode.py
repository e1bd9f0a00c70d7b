"""Reads Top-K in plain numpy: what a payload means, and what is none. topk_decode.py must agree on both."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression.coding import F32, U8
from deepseek_runtime.compression.dense import from_bfloat16
from deepseek_runtime.compression.errors import PayloadError
from deepseek_runtime.compression.form import (
    COUNT_BITS,
    ESCAPE,
    LARGEST_UNIT,
    STEP_RICE,
    TOP_RICE,
    UNIT_BITS,
    UNIT_SHIFT,
    levels_of,
)
from deepseek_runtime.compression.packing import BitReader
from deepseek_runtime.compression.topk_numpy import floats_of, scale_bits

I64 = npt.NDArray[np.int64]


class Sparse(NamedTuple):
    positions: I64
    values: F32


def check_topk(data: U8, offset: int, size: int, chunk: int, kept: int, rices: I64, value_bits: int, vary: int) -> int:
    try:
        return _decode(data, offset, size, chunk, kept, rices, value_bits, vary)[1]
    except PayloadError:
        return -1


def add_topk(
    data: U8,
    offset: int,
    target: F32,
    scale: np.float32,
    chunk: int,
    kept: int,
    rices: I64,
    value_bits: int,
    vary: int,
) -> int:
    chunks, end = _decode(data, offset, target.size, chunk, kept, rices, value_bits, vary)
    for positions, values in chunks:
        target[positions] += scale * values
    return end


def _decode(
    data: U8, offset: int, size: int, chunk: int, kept: int, rices: I64, value_bits: int, vary: int
) -> tuple[list[Sparse], int]:
    """What each chunk holds, positions counted from the run's start, and where the run ends. Raises PayloadError."""
    reader = BitReader(data[offset:])
    chunks = []
    last = 0
    for start in range(0, size, chunk):
        elements = min(chunk, size - start)
        count = _decode_count(reader, kept, vary, elements)
        if count > elements:
            raise PayloadError(f"a chunk of {elements} elements is said to hold {count} values")
        if count == 0:
            continue
        rice = int(rices[count])
        gaps = reader.unary(count, elements) << rice
        positions = np.cumsum(gaps + reader.fields(count, rice) + 1) - 1
        if positions[-1] >= elements:
            raise PayloadError(f"position {positions[-1]} in a chunk of {elements} elements")
        values, last = _decode_values(reader, count, value_bits, last)
        chunks.append(Sparse(start + positions, values))
    return chunks, offset + reader.finish()


def _decode_count(reader: BitReader, kept: int, vary: int, elements: int) -> int:
    if vary >= 0:
        return int(reader.unary(1, elements >> vary)[0]) << vary | reader.field(vary)
    if reader.field(1):
        return kept
    if reader.field(1):
        return 0
    count = reader.field(COUNT_BITS)
    if count == 0:
        raise PayloadError("an empty chunk in the wrong form")
    return count


def _decode_values(reader: BitReader, count: int, value_bits: int, last: int) -> tuple[F32, int]:
    if value_bits <= 8:
        units = _decode_units(reader, value_bits, last)
        codes = reader.fields(count, value_bits)
        index = codes >> 1
        bits = scale_bits(units[0], units[1], index) if value_bits == 8 else np.array(units)[index] << UNIT_SHIFT
        magnitudes = floats_of(bits)
        return np.where(codes & 1, -magnitudes, magnitudes), units[0]
    if value_bits == 32:
        values = reader.fields(count, 32).astype(np.uint32).view(np.float32)
    else:
        values = from_bfloat16(reader.fields(count, 16).astype(np.uint16))
    if not np.isfinite(values).all():
        raise PayloadError("a value is not finite")
    return values, last


def _decode_units(reader: BitReader, value_bits: int, last: int) -> list[int]:
    units: list[int] = []
    for level in range(levels_of(value_bits)):
        rice = STEP_RICE[value_bits] if level else TOP_RICE
        quotient = int(reader.unary(1, ESCAPE)[0])
        if quotient == ESCAPE:
            unit = reader.field(UNIT_BITS)
        else:
            difference = quotient << rice | reader.field(rice)
            unit = units[-1] - difference if units else last + ((difference >> 1) ^ -(difference & 1))
        if not 0 <= unit <= LARGEST_UNIT or (units and unit > units[-1]):
            raise PayloadError("a level is negative, not finite, or above the one before it")
        units.append(unit)
    return units
