"""Bits a parameter, against what the positions and values must cost at least."""

import math

import numpy as np
import pytest

from builders.values import span_of, values_of
from deepseek_runtime.compression import codec_for
from deepseek_runtime.compression.form import VALUE_BITS, ValueBits
from deepseek_runtime.contract.config import Compression
from deepseek_runtime.space import Kind


def entropy(ratio: float) -> float:
    """Bits a position, of all positions, when `ratio` of them are drawn at random."""
    return -ratio * math.log2(ratio) - (1 - ratio) * math.log2(1 - ratio)


LEVELS_COST = {1: 4, 2: 8, 3: 16, 4: 30, 8: 10}
"""Bits a chunk of Gaussian values, at most."""


@pytest.mark.parametrize("ratio", [1 / 128, 1 / 64, 0.05, 0.1, 0.25])
@pytest.mark.parametrize("value_bits", VALUE_BITS)
def test_within_a_few_percent_of_the_entropy(ratio: float, value_bits: ValueBits) -> None:
    values = values_of("gaussian", 16 * 4096)
    codec = codec_for(span_of(("weights", values.size)), Compression(ratio=ratio, value_bits=value_bits))
    spent = 8 * len(codec.encode(values, np.empty_like(values))) / values.size
    kept = round(ratio * 4096) / 4096
    least = entropy(kept) + kept * value_bits
    print(f"{ratio:.4f} at {value_bits} bits: {spent:.4f} bits a parameter, at least {least:.4f}")
    # Levels cost as much a chunk however many values it has.
    assert least < spent < 1.035 * least + LEVELS_COST.get(value_bits, 0) / 4096


def test_64_of_4096_in_two_bits_take_0_15_bits_a_parameter() -> None:
    values = values_of("gaussian", 256 * 4096)
    codec = codec_for(span_of(("weights", values.size)), Compression(ratio=1 / 64))
    assert 8 * len(codec.encode(values, values)) / (256 * 4096) < 0.1505


def test_the_default_is_80_times_smaller_than_float32() -> None:
    values = values_of("gaussian", 64 * 4096)
    codec = codec_for(span_of(("weights", values.size)), Compression())
    assert 8 * len(codec.encode(values, values)) / (64 * 4096) < 0.40


@pytest.mark.parametrize("value_bits", VALUE_BITS)
def test_chunks_of_zeros_cost_two_bits(value_bits: ValueBits) -> None:
    values = np.zeros(64 * 4096, np.float32)
    codec = codec_for(span_of(("weights", values.size)), Compression(value_bits=value_bits))
    assert len(codec.encode(values, values)) == 4 + 64 * 2 // 8


@pytest.mark.parametrize("kind,bytes_each", [("small", 2), ("buffers", 4)])
def test_small_tensors_and_buffers_are_dense(kind: Kind, bytes_each: int) -> None:
    values = values_of("gaussian", 4096)
    codec = codec_for(span_of((kind, 1000)), Compression())
    assert len(codec.encode(values, np.empty_like(values))) == 4 + 1000 * bytes_each
