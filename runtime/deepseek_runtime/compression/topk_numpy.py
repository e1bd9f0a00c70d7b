"""Top-K of a run in plain numpy, chunk by chunk: what the payload means. fast.py must give the same bytes.

A chunk is: `1` if it holds `kept` values, `01` if none, else `00` and the count in 13 bits; then for each kept
position the quotient of its gap in unary; then the gaps' low bits; then, for 2-bit values, the upper and the lower
magnitude; then the values.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression.coding import F32, U8
from deepseek_runtime.compression.dense import from_bfloat16, to_bfloat16
from deepseek_runtime.compression.errors import PayloadError
from deepseek_runtime.compression.packing import BitReader, Bits, fields, pack, unary

I64 = npt.NDArray[np.int64]
COUNT_BITS = 13


class Sparse(NamedTuple):
    positions: I64
    values: F32


def encode_topk(values: F32, residual: F32, chunk: int, kept: int, kept_last: int, rice: int, value_bits: int) -> bytes:
    bits: list[Bits] = []
    for start in range(0, values.size, chunk):
        piece = values[start : start + chunk].copy()
        limit = kept if start + chunk < values.size else kept_last
        positions = select(_magnitude_bits(piece), limit)
        bits += _count_bits(positions.size, kept)
        gaps = np.diff(positions, prepend=-1) - 1
        bits += [unary(gaps >> rice), fields(gaps & ((1 << rice) - 1), rice)]
        sent, value_fields = _encode_values(piece[positions], value_bits)
        bits += value_fields
        piece[positions] -= sent
        residual[start : start + chunk] = piece
    return pack(np.concatenate(bits))


def select(magnitudes: I64, limit: int) -> I64:
    """Positions, ascending, of the `limit` largest nonzero magnitudes; the lower position first among equals."""
    largest = np.argsort(-magnitudes, kind="stable")[:limit]
    return np.sort(largest[magnitudes[largest] > 0])


def _magnitude_bits(values: F32) -> I64:
    """Integers in the order of |values|."""
    return (values.view(np.uint32) & np.uint32(0x7FFFFFFF)).astype(np.int64)


def _count_bits(count: int, kept: int) -> list[Bits]:
    if count == kept:
        return [np.array([1], np.uint8)]
    if count == 0:
        return [np.array([0, 1], np.uint8)]
    return [np.array([0, 0], np.uint8), fields(np.array([count]), COUNT_BITS)]


def _encode_values(values: F32, value_bits: int) -> tuple[F32, list[Bits]]:
    """What the decoder will see, and its bits."""
    if values.size == 0:
        return values, []
    if value_bits == 32:
        return values, [fields(values.view(np.uint32), 32)]
    if value_bits == 16:
        halves = to_bfloat16(values)
        return from_bfloat16(halves), [fields(halves, 16)]
    magnitudes = np.abs(values)
    upper = np.zeros(values.size, bool)
    upper[select(_magnitude_bits(values), (values.size + 1) // 2)] = True
    levels = to_bfloat16(np.array([_mean(magnitudes[upper]), _mean(magnitudes[~upper])], np.float32))
    codes = np.signbit(values).astype(np.int64) | (upper.astype(np.int64) << 1)
    return _levels(codes, levels), [fields(levels, 16), fields(codes, 2)]


def _mean(values: F32) -> np.float64:
    """In order of position, in float64: a fixed order of additions makes the bytes the same everywhere."""
    if values.size == 0:
        return np.float64(0)
    return np.float64(np.add.accumulate(values.astype(np.float64))[-1] / values.size)


def _levels(codes: I64, levels: npt.NDArray[np.uint16]) -> F32:
    magnitudes = from_bfloat16(levels)[1 - (codes >> 1)]
    values: F32 = np.where(codes & 1, -magnitudes, magnitudes)
    return values


def check_topk(data: U8, offset: int, size: int, chunk: int, kept: int, rice: int, value_bits: int) -> int:
    try:
        return _decode(data, offset, size, chunk, kept, rice, value_bits)[1]
    except PayloadError:
        return -1


def add_topk(
    data: U8, offset: int, target: F32, scale: np.float32, chunk: int, kept: int, rice: int, value_bits: int
) -> int:
    chunks, end = _decode(data, offset, target.size, chunk, kept, rice, value_bits)
    for positions, values in chunks:
        target[positions] += scale * values
    return end


def _decode(
    data: U8, offset: int, size: int, chunk: int, kept: int, rice: int, value_bits: int
) -> tuple[list[Sparse], int]:
    """What each chunk holds, positions counted from the run's start, and where the run ends. Raises PayloadError."""
    reader = BitReader(data[offset:])
    chunks = []
    for start in range(0, size, chunk):
        elements = min(chunk, size - start)
        count = _decode_count(reader, kept)
        if count > elements:
            raise PayloadError(f"a chunk of {elements} elements is said to hold {count} values")
        gaps = reader.unary(count, elements) << rice
        positions = np.cumsum(gaps + reader.fields(count, rice) + 1) - 1
        if count and positions[-1] >= elements:
            raise PayloadError(f"position {positions[-1]} in a chunk of {elements} elements")
        chunks.append(Sparse(start + positions, _decode_values(reader, count, value_bits)))
    return chunks, offset + reader.finish()


def _decode_count(reader: BitReader, kept: int) -> int:
    if reader.field(1):
        return kept
    if reader.field(1):
        return 0
    count = reader.field(COUNT_BITS)
    if count == 0:
        raise PayloadError("an empty chunk in the wrong form")
    return count


def _decode_values(reader: BitReader, count: int, value_bits: int) -> F32:
    if count == 0:
        return np.zeros(0, np.float32)
    if value_bits == 32:
        values = reader.fields(count, 32).astype(np.uint32).view(np.float32)
    elif value_bits == 16:
        values = from_bfloat16(reader.fields(count, 16).astype(np.uint16))
    else:
        levels = reader.fields(2, 16).astype(np.uint16)
        if (levels > 0x7F7F).any():
            raise PayloadError("a magnitude is negative or not finite")
        return _levels(reader.fields(count, 2), levels)
    if not np.isfinite(values).all():
        raise PayloadError("a value is not finite")
    return values
