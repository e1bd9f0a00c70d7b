"""The numba kernels and the numpy ones: the same bytes, the same residual, the same sums, to the last bit."""

import numpy as np
import pytest
from hypothesis import given

from builders.values import F32, QUANTISED_BITS, SHAPES, Case, cases, span_of, values_of
from deepseek_runtime.compression import codec_for
from deepseek_runtime.compression.form import VALUE_BITS, ValueBits
from deepseek_runtime.contract.config import Compression


def bits(values: F32) -> list[int]:
    return list(values.view(np.uint32).tolist())


def require_same(case: Case) -> None:
    plain, fast = case.codec(fast=False), case.codec(fast=True)
    left_plain, left_fast = np.full_like(case.values, 7), np.full_like(case.values, 7)
    payload = plain.encode(case.values, left_plain)
    assert fast.encode(case.values, left_fast) == payload
    assert bits(left_fast) == bits(left_plain)

    in_place = case.values.copy()
    assert fast.encode(in_place, in_place) == payload
    assert bits(in_place) == bits(left_plain)

    # What is owed is added on the way: the same as adding it before.
    owed = case.values[::-1].copy()
    with np.errstate(over="ignore"):
        whole = case.values + owed
    if np.isfinite(whole).all():
        expected = plain.encode(whole, left_plain)
        for codec in (plain, fast):
            assert codec.encode(case.values, left_fast, plus=owed) == expected
            assert bits(left_fast) == bits(left_plain)
            in_place = case.values.copy()
            assert codec.encode(in_place, in_place, plus=owed) == expected
            assert bits(in_place) == bits(left_plain)

    start = np.linspace(-1, 1, case.values.size, dtype=np.float32)
    sum_plain, sum_fast = start.copy(), start.copy()
    plain.add(payload, sum_plain, 1 / 3)
    fast.add(payload, sum_fast, 1 / 3)
    assert bits(sum_fast) == bits(sum_plain)
    dense = plain.encode_dense(case.values)
    assert fast.encode_dense(case.values) == dense
    taken = np.full_like(case.values, 7)
    fast.put(dense, taken)
    assert all(bits(taken[run.start : run.stop]) == bits(case.values[run.start : run.stop]) for run in fast.runs)


@given(cases())
def test_on_any_case(case: Case) -> None:
    require_same(case)


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("value_bits", VALUE_BITS)
def test_on_full_chunks_and_an_odd_rest(shape: str, value_bits: ValueBits) -> None:
    runs = span_of(("weights", 4 * 4096 + 1733), ("small", 77), ("buffers", 13))
    values = np.zeros(6 * 4096 + 4096, np.float32)
    for run in runs:
        values[run.start : run.stop] = values_of(shape, run.stop - run.start)
    require_same(Case(runs, values, Compression(value_bits=value_bits), 4096))


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("value_bits", QUANTISED_BITS)
def test_quantised(shape: str, value_bits: ValueBits) -> None:
    runs = span_of(("weights", 4096 + 1733))
    values = np.zeros(2 * 4096, np.float32)
    values[: 4096 + 1733] = values_of(shape, 4096 + 1733)
    require_same(Case(runs, values, Compression(method="quantised", value_bits=value_bits), 4096))


def test_scales_change_from_chunk_to_chunk() -> None:
    """The threshold of one chunk is where the search in the next begins: it must not matter where that is."""
    scales = np.repeat(np.array([1, 1e-30, 1e35, 1e-3, 1], np.float32), 4096)
    values = values_of("gaussian", 5 * 4096) * scales
    require_same(Case(span_of(("weights", values.size)), values, Compression(), 4096))


def test_an_unaligned_payload_is_read() -> None:
    runs = span_of(("weights", 5000), ("small", 9), ("buffers", 9))
    values = np.zeros(4 * 4096, np.float32)
    values[:5000] = values_of("gaussian", 5000)
    values[8192:8201] = values[12288:12297] = np.arange(9)
    for method in ("none", "topk"):
        codec = codec_for(runs, Compression(method=method))
        payload = codec.encode(values, np.empty_like(values))
        expected = codec.decode(payload)
        for shift in range(1, 4):
            moved = memoryview(b"\0" * shift + payload)[shift:]
            np.testing.assert_array_equal(codec.decode(moved), expected)
