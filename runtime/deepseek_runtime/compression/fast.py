"""The numba kernels as one set beside plain.py: arrays in and bytes out around kernels.py. Imported by `load` only."""

import sys

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression import kernels
from deepseek_runtime.compression.coding import F32, U8

if sys.byteorder != "little":
    raise ImportError("the numba kernels write words as the machine does: little-endian machines only")

U16 = npt.NDArray[np.uint16]
U64 = npt.NDArray[np.uint64]


def finite(values: F32) -> bool:
    return bool(kernels.finite(values))


def check_float32(data: U8, offset: int, size: int) -> bool:
    return bool(kernels.finite(_floats(data, offset, size)))


def add_float32(data: U8, offset: int, target: F32, scale: np.float32) -> None:
    kernels.add_float32(_floats(data, offset, target.size), target, scale)


def encode_bfloat16(values: F32, residual: F32) -> bytes:
    halves = np.empty(values.size, np.uint16)
    kernels.encode_bfloat16(values, residual, halves)
    return halves.tobytes()


def check_bfloat16(data: U8, offset: int, size: int) -> bool:
    return bool(kernels.finite_bfloat16(_halves(data, offset, size)))


def add_bfloat16(data: U8, offset: int, target: F32, scale: np.float32) -> None:
    kernels.add_bfloat16(_halves(data, offset, target.size), target, scale)


def encode_topk(values: F32, residual: F32, chunk: int, kept: int, kept_last: int, rice: int, value_bits: int) -> bytes:
    if residual.ctypes.data != values.ctypes.data:
        np.copyto(residual, values)
    most = max(kept, kept_last)
    bits = 2 + kernels.COUNT_BITS + most + (chunk >> rice) + most * (rice + value_bits) + 32
    words = np.zeros(-(-values.size // chunk) * bits // 64 + 2, np.uint64)
    end = kernels.encode_topk(residual, words, chunk, kept, kept_last, rice, value_bits)
    return words.view(np.uint8)[: (end + 7) // 8].tobytes()


def check_topk(data: U8, offset: int, size: int, chunk: int, kept: int, rice: int, value_bits: int) -> int:
    bits = 8 * (data.size - offset)
    end = kernels.check_topk(_words(data, offset), bits, size, chunk, kept, rice, value_bits)
    return -1 if end < 0 else offset + end // 8


def add_topk(
    data: U8, offset: int, target: F32, scale: np.float32, chunk: int, kept: int, rice: int, value_bits: int
) -> int:
    end = kernels.add_topk(_words(data, offset), target, scale, chunk, kept, rice, value_bits)
    return offset + (end + 7) // 8


def _floats(data: U8, offset: int, size: int) -> F32:
    return data[offset : offset + 4 * size].view(np.float32)


def _halves(data: U8, offset: int, size: int) -> U16:
    return data[offset : offset + 2 * size].view(np.uint16)


def _words(data: U8, offset: int) -> U64:
    """A copy in whole words with two to spare, so that fields can be read across the end."""
    words = np.zeros((data.size - offset + 7) // 8 + 2, np.uint64)
    words.view(np.uint8)[: data.size - offset] = data[offset:]
    return words
