"""The numba kernels as one set beside plain.py: arrays in and bytes out around them. Imported by `load` only."""

import sys

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression import kernels, topk_decode, topk_encode
from deepseek_runtime.compression.coding import F32, I64, U8, Cut
from deepseek_runtime.compression.errors import NonFinite
from deepseek_runtime.compression.form import COUNT_BITS, UNIT_BITS, levels_of
from deepseek_runtime.compression.quantised import BLOCK

if sys.byteorder != "little":
    raise ImportError("the numba kernels write words as the machine does: little-endian machines only")

U16 = npt.NDArray[np.uint16]
U64 = npt.NDArray[np.uint64]
NOTHING: F32 = np.empty(0, np.float32)


def total(values: F32, plus: F32 | None, residual: F32) -> int:
    return int(kernels.total(values, NOTHING if plus is None else plus, residual, _same(values, residual)))


def check_float32(data: U8, offset: int, size: int) -> bool:
    return bool(kernels.finite(data[offset : offset + 4 * size].view(np.float32)))


def add_float32(data: U8, offset: int, target: F32, scale: np.float32) -> None:
    kernels.add_float32(data[offset : offset + 4 * target.size].view(np.float32), target, scale)


def encode_bfloat16(residual: F32) -> bytes:
    halves = np.empty(residual.size, np.uint16)
    kernels.encode_bfloat16(residual, halves)
    return halves.tobytes()


def check_bfloat16(data: U8, offset: int, size: int) -> bool:
    return bool(kernels.finite_bfloat16(_halves(data, offset, size)))


def add_bfloat16(data: U8, offset: int, target: F32, scale: np.float32) -> None:
    kernels.add_bfloat16(_halves(data, offset, target.size), target, scale)


def encode_quantised(residual: F32, value_bits: int) -> bytes:
    steps = np.empty(-(-residual.size // BLOCK), np.uint16)
    codes = np.zeros(-(-residual.size * value_bits // 8), np.uint8)
    kernels.encode_quantised(residual, steps, codes, value_bits)
    return steps.tobytes() + codes.tobytes()


def check_quantised(data: U8, offset: int, size: int, value_bits: int) -> bool:
    return bool(kernels.check_quantised(*_quantised(data, offset, size, value_bits), size, value_bits))


def add_quantised(data: U8, offset: int, target: F32, scale: np.float32, value_bits: int) -> None:
    kernels.add_quantised(*_quantised(data, offset, target.size, value_bits), target, scale, value_bits)


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
    most = chunk if cut is not None else max(kept, kept_last)
    words = np.zeros(-(-values.size // chunk) * _most_bits(chunk, most, rices, value_bits) // 64 + 3, np.uint64)
    threshold, ties = (cut.threshold, cut.ties) if cut is not None else (0, 0)
    end = topk_encode.encode_topk(
        values,
        NOTHING if plus is None else plus,
        residual,
        words,
        _same(values, residual),
        chunk,
        kept,
        kept_last,
        rices,
        value_bits,
        vary,
        threshold,
        ties,
    )
    if end < 0:
        start = -1 - end
        raise NonFinite(start + int(np.flatnonzero(~np.isfinite(residual[start : start + chunk]))[0]))
    return words.view(np.uint8)[: (end + 7) // 8].tobytes()


def check_topk(data: U8, offset: int, size: int, chunk: int, kept: int, rices: I64, value_bits: int, vary: int) -> int:
    words, bits = _words(data, offset, size, chunk, rices, value_bits)
    end = topk_decode.check_topk(words, bits, size, chunk, kept, rices, value_bits, vary)
    return -1 if end < 0 else offset + end // 8


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
    words, _ = _words(data, offset, target.size, chunk, rices, value_bits)
    end = topk_decode.add_topk(words, target, scale, chunk, kept, rices, value_bits, vary)
    return offset + (end + 7) // 8


def _same(values: F32, residual: F32) -> bool:
    return bool(values.ctypes.data == residual.ctypes.data)


def _most_bits(chunk: int, count: int, rices: I64, value_bits: int) -> int:
    """Of a chunk with up to `count` values: its count in unary at worst, positions, levels, values."""
    levels = levels_of(value_bits) * (32 + UNIT_BITS)
    return chunk + 2 + COUNT_BITS + count + chunk + count * (int(rices.max()) + value_bits) + levels


def _halves(data: U8, offset: int, size: int) -> U16:
    return data[offset : offset + 2 * size].view(np.uint16)


def _quantised(data: U8, offset: int, size: int, value_bits: int) -> tuple[U16, U8]:
    steps = _halves(data, offset, -(-size // BLOCK))
    codes = offset + 2 * steps.size
    return steps, data[codes : codes + -(-size * value_bits // 8)]


def _words(data: U8, offset: int, size: int, chunk: int, rices: I64, value_bits: int) -> tuple[U64, int]:
    """A copy in whole words with two to spare, so that fields can be read across the end; and how many bits count.

    No more than a body of this size can have: what comes after it is another piece's.
    """
    most = -(-size // chunk) * _most_bits(chunk, chunk, rices, value_bits) // 8 + 8
    here = data[offset : offset + most]
    words = np.zeros((here.size + 7) // 8 + 2, np.uint64)
    words.view(np.uint8)[: here.size] = here
    return words, 8 * here.size
