"""Damaged payloads: refused with the target untouched, or read alike by both implementations, to finite values."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.values import Case, cases, span_of, values_of
from deepseek_runtime.compression import PayloadError, SpanCodec, codec_for
from deepseek_runtime.contract.config import Compression

both = pytest.mark.parametrize("fast", [False, True], ids=["numpy", "numba"])


def outcome(codec: SpanCodec, payload: bytes) -> list[int] | None:
    """The bits of what was decoded; None if the payload was refused."""
    target = np.full(codec.size, 0.5, np.float32)
    try:
        codec.add(payload, target)
    except PayloadError:
        assert (target == 0.5).all()
        return None
    assert np.isfinite(target).all()
    return list(target.view(np.uint32).tolist())


@given(cases(), st.data())
def test_flipped_bits(case: Case, data: st.DataObject) -> None:
    payload = bytearray(case.codec(fast=True).encode(case.values, np.empty_like(case.values)))
    # A run cut short early or damaged in its header is found at once: most flips go near the front.
    places = st.one_of(st.integers(0, 8 * min(len(payload), 12) - 1), st.integers(0, 8 * len(payload) - 1))
    for place in data.draw(st.lists(places, min_size=1, max_size=3)):
        payload[place // 8] ^= 1 << place % 8
    assert outcome(case.codec(fast=True), bytes(payload)) == outcome(case.codec(fast=False), bytes(payload))


@given(cases(), st.data())
def test_another_length(case: Case, data: st.DataObject) -> None:
    payload = case.codec(fast=True).encode(case.values, np.empty_like(case.values))
    cut = payload[: data.draw(st.integers(0, len(payload) - 1))]
    longer = payload + data.draw(st.binary(min_size=1, max_size=9))
    for fast in (False, True):
        assert outcome(case.codec(fast=fast), cut) is None
        assert outcome(case.codec(fast=fast), longer) is None


@given(
    st.sampled_from([0x10, 0x12, 0x13, 0x14]),
    st.integers(0, 3),
    st.integers(1, 9),
    st.lists(st.integers(5, 8), min_size=1, max_size=2),
    st.binary(min_size=1, max_size=24),
)
def test_noise(form: int, rice: int, kept: int, sizes: list[int], noise: bytes) -> None:
    """Any bits after a header: of all lengths at most one is a payload, and both implementations say which."""
    runs = span_of(*(("weights", size) for size in sizes), chunk=8)
    plain, fast = (codec_for(runs, Compression(), fast=fast, chunk=8) for fast in (False, True))
    payloads = [bytes([form, rice, kept, 0]) + noise[:length] for length in range(len(noise) + 1)]
    outcomes = [outcome(fast, payload) for payload in payloads]
    assert outcomes == [outcome(plain, payload) for payload in payloads]
    assert sum(result is not None for result in outcomes) <= 1


def bits_of(*fields: tuple[int, int]) -> bytes:
    """(value, width) one after the other, as in a payload."""
    number, at = 0, 0
    for value, width in fields:
        number |= value << at
        at += width
    return number.to_bytes(-(-at // 8), "little")


@both
@pytest.mark.parametrize(
    "body,accepted",
    [
        pytest.param(bits_of((1, 1), (0b1000, 4), (0x3F80, 16), (0, 16), (2, 2)), True, id="the last position"),
        pytest.param(bits_of((1, 1), (0b10000, 5), (0x3F80, 16), (0, 16), (2, 2)), False, id="one after the last"),
        pytest.param(bits_of((0, 2), (2, 13), (0b11, 2), (0x3F80, 16), (0, 16), (0, 4)), True, id="a count"),
        pytest.param(bits_of((0, 2), (0, 13)), False, id="a count of none"),
        pytest.param(bits_of((0, 2), (5, 13), (0b11111, 5), (0x3F80, 16), (0, 16), (0, 10)), False, id="too many"),
        pytest.param(bits_of((2, 2)), True, id="an empty chunk"),
        pytest.param(bits_of((2, 2), (1, 1)), False, id="padding that is not zero"),
        pytest.param(bits_of((1, 1), (1, 1), (0x7F7F, 16), (0x7F7F, 16), (2, 2)), True, id="the largest magnitude"),
        pytest.param(bits_of((1, 1), (1, 1), (0x7F80, 16), (0, 16), (2, 2)), False, id="an infinite upper magnitude"),
        pytest.param(bits_of((1, 1), (1, 1), (0, 16), (0x7F80, 16), (2, 2)), False, id="an infinite lower magnitude"),
        pytest.param(bits_of((1, 1), (1, 1), (0xBF80, 16), (0, 16), (2, 2)), False, id="a negative magnitude"),
    ],
)
def test_bodies(fast: bool, body: bytes, accepted: bool) -> None:
    """A chunk of 4 elements, one kept, gaps in unary."""
    codec = codec_for(span_of(("weights", 4)), Compression(), fast=fast)
    assert (outcome(codec, bytes.fromhex("12000100") + body) is not None) == accepted


@both
@pytest.mark.parametrize("header", ["1500cd00", "00000000", "120ccd00", "12040000", "12040110", "10010000", "1000cd00"])
def test_headers_of_nothing_we_write(fast: bool, header: str) -> None:
    codec = codec_for(span_of(("weights", 100)), Compression(), fast=fast)
    assert outcome(codec, bytes.fromhex(header) + b"\x02") is None
    assert outcome(codec, bytes.fromhex("1204cd00") + b"\x02") is not None


@both
@pytest.mark.parametrize("method", ["none", "topk"])
@pytest.mark.parametrize("at", [0, 4096, 8192])
def test_a_value_that_is_not_finite(fast: bool, method: Literal["none", "topk"], at: int) -> None:
    """Such a value would destroy the weights; a sender never writes one."""
    runs = span_of(("weights", 4096), ("small", 5), ("buffers", 5))
    values = np.zeros(3 * 4096, np.float32)
    values[at] = 1
    codec = codec_for(runs, Compression(method=method, value_bits=32), fast=fast)
    one, infinite = (np.array([x], "<f4").tobytes() for x in (1.0, np.inf))
    payload = codec.encode(values, np.empty_like(values))
    assert outcome(codec, payload) is not None
    if method == "topk" and at == 4096:
        one, infinite = one[2:], infinite[2:]
    if method == "topk" and at == 0:
        number = int.from_bytes(payload[4:], "little")
        shifted = [int.from_bytes(x, "little") for x in (one, infinite)]
        place = next(p for p in range(64) if number >> p & 0xFFFFFFFF == shifted[0])
        number += (shifted[1] - shifted[0]) << place
        assert outcome(codec, payload[:4] + number.to_bytes(len(payload) - 4, "little")) is None
    else:
        assert payload.count(one) == 1
        assert outcome(codec, payload.replace(one, infinite)) is None


def test_a_payload_of_another_model_is_refused() -> None:
    values = values_of("gaussian", 3 * 4096)
    payload = codec_for(span_of(("weights", 12000)), Compression()).encode(values, values)
    with pytest.raises(PayloadError):
        codec_for(span_of(("weights", 4096), ("weights", 4096)), Compression()).decode(payload)
