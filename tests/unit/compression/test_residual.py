"""What `encode` leaves: values = decoded + residual, and exactly nothing where the decoded value is exact."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from builders.values import Case, ValueBits, cases, span_of, values_of
from deepseek_runtime.compression import NonFinite, codec_for
from deepseek_runtime.compression.codec import HEADER
from deepseek_runtime.contract.config import Compression

both = pytest.mark.parametrize("fast", [False, True], ids=["numpy", "numba"])


@given(cases())
def test_residual_is_values_less_decoded(case: Case) -> None:
    codec = case.codec(fast=True)
    residual = np.empty_like(case.values)
    decoded = codec.decode(codec.encode(case.values, residual))
    np.testing.assert_array_equal(residual, case.values - decoded)
    exact = residual == 0
    np.testing.assert_array_equal(decoded[exact], case.values[exact])


@given(cases())
def test_dense_is_exact_whatever_the_method(case: Case) -> None:
    codec = case.codec(fast=True)
    payload = codec.encode_dense(case.values)
    np.testing.assert_array_equal(codec.decode(payload), case.values)
    assert len(payload) == HEADER.size + 4 * sum(run.stop - run.start for run in codec.runs)  # padding is not sent


@both
def test_32_bits_keep_exactly_the_largest_and_leave_exactly_the_rest(fast: bool) -> None:
    values = values_of("gaussian", 3 * 4096)
    codec = codec_for(span_of(("weights", values.size)), Compression(value_bits=32), fast=fast)
    residual = np.empty_like(values)
    decoded = codec.decode(codec.encode(values, residual))
    for chunk in range(3):
        at = slice(4096 * chunk, 4096 * (chunk + 1))
        kept = np.argsort(-np.abs(values[at]))[:205]
        expected = np.zeros(4096, np.float32)
        expected[kept] = values[at][kept]
        np.testing.assert_array_equal(decoded[at], expected)
        np.testing.assert_array_equal(residual[at], np.where(expected == 0, values[at], 0))


@both
@pytest.mark.parametrize("value_bits", [2, 16, 32])
def test_among_equals_the_lower_index_is_sent(fast: bool, value_bits: ValueBits) -> None:
    values = np.full(4096, -0.5, np.float32)
    values[4000] = 0.75
    codec = codec_for(span_of(("weights", 4096)), Compression(value_bits=value_bits), fast=fast)
    decoded = codec.decode(codec.encode(values, np.empty_like(values)))
    assert np.flatnonzero(decoded).tolist() == [*range(204), 4000]


@both
def test_two_bits_are_signs_and_the_means_of_both_halves(fast: bool) -> None:
    values = np.array([1, -2, 0, 4, -5, 0.25, 0, 0], np.float32)
    codec = codec_for(span_of(("weights", 8), chunk=8), Compression(ratio=0.5), fast=fast, chunk=8)
    decoded = codec.decode(codec.encode(values, np.empty_like(values)))
    assert decoded.tolist() == [1.5, -1.5, 0, 4.5, -4.5, 0, 0, 0]


@both
def test_everything_is_sent_at_last(fast: bool) -> None:
    """Error feedback: what was held back comes with later payloads, and nothing comes twice."""
    rng = np.random.default_rng(1)
    runs = span_of(("weights", 4096 + 500), ("small", 30))
    codec = codec_for(runs, Compression(), fast=fast)
    residual = np.zeros(3 * 4096, np.float32)
    wanted, arrived = np.zeros_like(residual), np.zeros_like(residual)
    for turn in range(60):
        if turn < 20:
            for run in runs:
                difference = rng.standard_normal(run.stop - run.start).astype(np.float32)
                residual[run.start : run.stop] += difference
                wanted[run.start : run.stop] += difference
        codec.add(codec.encode(residual, residual), arrived)
    codec.add(codec.encode_dense(residual), arrived)
    np.testing.assert_allclose(arrived, wanted, atol=1e-4)
    assert np.abs(residual).sum() < 0.1 * np.abs(wanted).sum()


@both
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("at", [0, 4099, 8192, 12288])
def test_what_is_not_finite_is_refused_before_anything_is_written(fast: bool, bad: float, at: int) -> None:
    values = np.ones(4 * 4096, np.float32)
    values[at] = bad
    before = values.copy()
    codec = codec_for(span_of(("weights", 8000), ("small", 10), ("buffers", 10)), Compression(), fast=fast)
    with pytest.raises(NonFinite, match=f"element {at} "):
        codec.encode(values, values)
    with pytest.raises(NonFinite):
        codec.encode_dense(values)
    np.testing.assert_array_equal(values, before)


def test_wrong_arrays_are_refused() -> None:
    codec = codec_for(span_of(("weights", 5000)), Compression())
    good = np.zeros(8192, np.float32)
    wrongs: list[Any] = [np.zeros(5000, np.float32), np.zeros(8192), np.zeros(16384, np.float32)[::2]]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="8192 contiguous float32"):
            codec.encode(wrong, good)
        with pytest.raises(ValueError, match="8192 contiguous float32"):
            codec.add(codec.encode_dense(good), wrong)
