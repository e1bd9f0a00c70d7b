"""The numpy kernels as one set: the reference, and what runs where numba cannot be imported."""

from deepseek_runtime.compression.dense import (
    add_bfloat16,
    add_float32,
    check_bfloat16,
    check_float32,
    encode_bfloat16,
    total,
)
from deepseek_runtime.compression.quantised_numpy import add_quantised, check_quantised, encode_quantised
from deepseek_runtime.compression.topk_numpy import encode_topk
from deepseek_runtime.compression.topk_numpy_decode import add_topk, check_topk

__all__ = [
    "add_bfloat16",
    "add_float32",
    "add_quantised",
    "add_topk",
    "check_bfloat16",
    "check_float32",
    "check_quantised",
    "check_topk",
    "encode_bfloat16",
    "encode_quantised",
    "encode_topk",
    "total",
]
