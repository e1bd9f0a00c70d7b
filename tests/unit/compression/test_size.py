"""Bits a parameter, against what the positions and values must cost at least."""

import math

import numpy as np
import pytest

from builders.values import ValueBits, span_of, values_of
from deepseek_runtime.compression import codec_for
from deepseek_runtime.contract.config import Compression
from deepseek_runtime.space import Kind


def entropy(ratio: float) -> float:
    """Bits a position, of all positions, when `ratio` of them are drawn at random."""
    return -ratio * math.log2(ratio) - (1 - ratio) * math.log2(1 - ratio)


@pytest.mark.parametrize("ratio", [1 / 128, 1 / 64, 0.05, 0.1, 0.25])
@pytest.mark.parametrize("value_bits", [2, 16, 32])
def test_within_four_percent_of_the_entropy(ratio: float, value_bits: ValueBits) -> None:
    values = values_of("gaussian", 16 * 4096)
    codec = codec_for(span_of(("weights", values.size)), Compression(ratio=ratio, value_bits=value_bits))
    spent = 8 * len(codec.encode(values, np.empty_like(values))) / values.size
    kept = round(ratio * 4096) / 4096
    least = entropy(kept) + kept * value_bits + (32 / 4096 if value_bits == 2 else 0)
    print(f"{ratio:.4f} at {value_bits} bits: {spent:.4f} bits a parameter, at least {least:.4f}")
    assert least < spent < 1.04 * least


def test_the_default_is_80_times_smaller_than_float32() -> None:
    values = values_of("gaussian", 64 * 4096)
    codec = codec_for(span_of(("weights", values.size)), Compression())
    assert 8 * len(codec.encode(values, values)) / (64 * 4096) < 0.40


@pytest.mark.parametrize("value_bits", [2, 16, 32])
def test_chunks_of_zeros_cost_two_bits(value_bits: ValueBits) -> None:
    values = np.zeros(64 * 4096, np.float32)
    codec = codec_for(span_of(("weights", values.size)), Compression(value_bits=value_bits))
    assert len(codec.encode(values, values)) == 4 + 64 * 2 // 8


@pytest.mark.parametrize("kind,bytes_each", [("small", 2), ("buffers", 4)])
def test_small_tensors_and_buffers_are_dense(kind: Kind, bytes_each: int) -> None:
    values = values_of("gaussian", 4096)
    codec = codec_for(span_of((kind, 1000)), Compression())
    assert len(codec.encode(values, np.empty_like(values))) == 4 + 1000 * bytes_each
