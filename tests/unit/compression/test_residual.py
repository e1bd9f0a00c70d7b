"""What `encode` leaves: values = decoded + residual, and exactly nothing where the decoded value is exact."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from builders.values import Case, cases, span_of, values_of
from deepseek_runtime.compression import NonFinite, codec_for
from deepseek_runtime.compression.form import VALUE_BITS, ValueBits
from deepseek_runtime.compression.header import HEADER
from deepseek_runtime.compression.pieces import MethodName
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
    assert len(payload) == HEADER.size * len(codec.runs) + 4 * sum(
        run.stop - run.start for run in codec.runs
    )  # padding is not sent


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
@pytest.mark.parametrize("value_bits", VALUE_BITS)
def test_among_equals_the_lower_index_is_sent(fast: bool, value_bits: ValueBits) -> None:
    values = np.full(4096, -0.5, np.float32)
    values[4000] = 0.75
    codec = codec_for(span_of(("weights", 4096)), Compression(value_bits=value_bits), fast=fast)
    decoded = codec.decode(codec.encode(values, np.empty_like(values)))
    assert np.flatnonzero(decoded).tolist() == [*range(204), 4000]


@both
@pytest.mark.parametrize(
    "value_bits,levels",
    [
        pytest.param(1, [4, 4, 4, 4, 4, 4, 4, 4], id="the mean"),
        pytest.param(2, [6, 6, 6, 6, 2, 2, 2, 2], id="of halves"),
        pytest.param(3, [7, 7, 5, 5, 3, 3, 1, 1], id="of quarters"),
        pytest.param(4, [8, 6, 6, 4, 4, 2, 1, 0.5], id="each its own"),
    ],
)
def test_few_bits_are_signs_and_the_means_of_groups(fast: bool, value_bits: ValueBits, levels: list[float]) -> None:
    magnitudes = {1: [4] * 8, 2: [8, 6, 6, 4, 3, 2, 2, 1], 3: [8, 6, 6, 4, 3, 3, 1, 1], 4: levels}[value_bits]
    signs = np.array([1, -1, 1, 1, -1, -1, 1, -1], np.float32)
    values = np.zeros(16, np.float32)
    values[::2] = np.array(magnitudes, np.float32) * signs
    codec = codec_for(
        span_of(("weights", 16), chunk=16), Compression(ratio=0.5, value_bits=value_bits), fast=fast, chunk=16
    )
    decoded = codec.decode(codec.encode(values, np.empty_like(values)))
    assert decoded[::2].tolist() == (np.array(levels) * signs).tolist()
    assert not decoded[1::2].any()


@both
def test_eight_bits_are_within_half_a_step(fast: bool) -> None:
    values = values_of("gaussian", 4 * 4096)
    codec = codec_for(span_of(("weights", values.size)), Compression(value_bits=8), fast=fast)
    residual = np.empty_like(values)
    sent = codec.decode(codec.encode(values, residual)) != 0
    assert sent.sum() == 4 * 205
    assert np.abs(residual[sent] / values[sent]).max() < 0.005


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
@pytest.mark.parametrize("method", ["none", "topk", "quantised", "lowrank"])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("at", [0, 4099, 8192, 12288])
def test_what_is_not_finite_is_refused(fast: bool, method: MethodName, bad: float, at: int) -> None:
    values = np.ones(4 * 4096, np.float32)
    values[at] = bad
    before = values.copy()
    runs = span_of(("weights", 8000), ("small", 10), ("buffers", 10))
    codec = codec_for(runs, Compression(method=method, value_bits=8), fast=fast)
    with pytest.raises(NonFinite, match=f"element {at} "):
        codec.encode(values, np.empty_like(values))
    with pytest.raises(NonFinite, match=f"element {at} "):
        codec.encode_dense(values)
    owed = np.zeros_like(values)
    with pytest.raises(NonFinite, match=f"element {at} "):
        codec.encode(owed, owed.copy(), plus=values)
    np.testing.assert_array_equal(values, before)


@both
def test_a_sum_that_leaves_the_floats_is_refused(fast: bool) -> None:
    values = np.full(4096, 3e38, np.float32)
    codec = codec_for(span_of(("weights", 4096)), Compression(), fast=fast)
    with pytest.raises(NonFinite, match="element 0 "):
        codec.encode(values, np.empty_like(values), plus=values)


def test_wrong_arrays_are_refused() -> None:
    codec = codec_for(span_of(("weights", 5000)), Compression())
    good = np.zeros(8192, np.float32)
    wrongs: list[Any] = [np.zeros(5000, np.float32), np.zeros(8192), np.zeros(16384, np.float32)[::2]]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="8192 contiguous float32"):
            codec.encode(wrong, good)
        with pytest.raises(ValueError, match="8192 contiguous float32"):
            codec.add(codec.encode_dense(good), wrong)
