"""The numpy kernels as one set: the reference, and what runs where numba cannot be imported."""

from deepseek_runtime.compression.dense import (
    add_bfloat16,
    add_float32,
    check_bfloat16,
    check_float32,
    encode_bfloat16,
    finite,
)
from deepseek_runtime.compression.topk_numpy import add_topk, check_topk, encode_topk

__all__ = [
    "add_bfloat16",
    "add_float32",
    "add_topk",
    "check_bfloat16",
    "check_float32",
    "check_topk",
    "encode_bfloat16",
    "encode_topk",
    "finite",
]
