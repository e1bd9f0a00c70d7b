"""Damaged payloads: refused with the target untouched, or read alike by both implementations, to finite values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.values import Case, cases, span_of, values_of
from deepseek_runtime.compression import PayloadError, SpanCodec, codec_for
from deepseek_runtime.compression.coding import Cut, How
from deepseek_runtime.compression.form import ESCAPE, UNIT_BITS, VALUE_BITS
from deepseek_runtime.compression.pieces import MethodName
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
    st.sampled_from(range(len(VALUE_BITS))),
    st.booleans(),
    st.integers(0, 3),
    st.integers(1, 8),
    st.lists(st.integers(5, 8), min_size=1, max_size=2),
    st.binary(min_size=1, max_size=24),
)
def test_noise(bits: int, vary: bool, rice: int, kept: int, sizes: list[int], noise: bytes) -> None:
    """Any bits after a header: of all lengths at most one is a payload, and both implementations say which."""
    runs = span_of(("weights", sizes[0]), chunk=8)
    plain, fast = (codec_for(runs, Compression(), fast=fast, chunk=8) for fast in (False, True))
    header = bytes([0x22, bits << 4 | (0x80 if vary else rice), kept, 0])
    payloads = [header + noise[:length] for length in range(len(noise) + 1)]
    outcomes = [outcome(fast, payload) for payload in payloads]
    assert outcomes == [outcome(plain, payload) for payload in payloads]
    assert sum(result is not None for result in outcomes) <= 1


@given(st.sampled_from(range(16)), st.integers(0, 255), st.integers(0, 9000), st.binary(max_size=40))
def test_any_header(form: int, small: int, large: int, body: bytes) -> None:
    """Both read it alike, or refuse it; nothing is allocated that the payload asks for."""
    runs = span_of(("weights", 12))
    payload = bytes([0x20 | form, small, large & 255, large >> 8]) + body
    plain, fast = (codec_for(runs, Compression(), fast=fast) for fast in (False, True))
    assert outcome(fast, payload) == outcome(plain, payload)


@given(cases(), st.integers(0, 20), st.data())
def test_flipped_bits_of_one_threshold(case: Case, share: int, data: st.DataObject) -> None:
    """Counts that vary from chunk to chunk are read alike, too."""
    keys = np.sort(case.values.view(np.uint32) & 0x7FFFFFFF)
    how = How(cut=Cut(max(1, int(keys[-1 - share * (keys.size - 1) // 20])), ties=3))
    runs, settings = case.runs, case.settings.model_copy(update={"method": "topk"})
    plain, fast = (codec_for(runs, settings, fast=fast, chunk=case.chunk) for fast in (False, True))
    left_plain, left_fast = np.empty_like(case.values), np.empty_like(case.values)
    payload = plain.encode(case.values, left_plain, how=how)
    assert fast.encode(case.values, left_fast, how=how) == payload
    assert left_fast.tobytes() == left_plain.tobytes()
    assert outcome(fast, payload) == outcome(plain, payload) is not None
    damaged = bytearray(payload)
    place = data.draw(st.integers(0, 8 * len(payload) - 1))
    damaged[place // 8] ^= 1 << place % 8
    assert outcome(fast, bytes(damaged)) == outcome(plain, bytes(damaged))


def bits_of(*fields: tuple[int, int]) -> bytes:
    """(value, width) one after the other, as in a payload."""
    number, at = 0, 0
    for value, width in fields:
        number |= value << at
        at += width
    return number.to_bytes(-(-at // 8), "little")


ONE = 0x3F800000 >> 18
"""The level of 1.0."""


def level(unit: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """A level as it is."""
    return (1 << ESCAPE, ESCAPE + 1), (unit, UNIT_BITS)


SAME = ((1, 1), (0, 3))
"""The same level once more."""


@both
@pytest.mark.parametrize(
    "body,accepted",
    [
        pytest.param(bits_of((1, 1), (0b1000, 4), *level(ONE), *SAME, (2, 2)), True, id="the last position"),
        pytest.param(bits_of((1, 1), (0b10000, 5), *level(ONE), *SAME, (2, 2)), False, id="one after the last"),
        pytest.param(bits_of((0, 2), (2, 13), (0b11, 2), *level(ONE), *SAME, (0, 4)), True, id="a count"),
        pytest.param(bits_of((0, 2), (0, 13)), False, id="a count of none"),
        pytest.param(bits_of((0, 2), (5, 13), (0b11111, 5), *level(ONE), *SAME, (0, 10)), False, id="too many"),
        pytest.param(bits_of((2, 2)), True, id="an empty chunk"),
        pytest.param(bits_of((2, 2), (1, 1)), False, id="padding that is not zero"),
        pytest.param(bits_of((1, 1), (1, 1), *level(0x1FDF), *SAME, (2, 2)), True, id="the largest level"),
        pytest.param(bits_of((1, 1), (1, 1), *level(0x1FE0), *SAME, (2, 2)), False, id="an infinite level"),
        pytest.param(bits_of((1, 1), (1, 1), *level(ONE), *level(0), (2, 2)), True, id="a lower level of zero"),
        pytest.param(bits_of((1, 1), (1, 1), *level(ONE), *level(ONE + 1), (2, 2)), False, id="levels that rise"),
        pytest.param(bits_of((1, 1), (1, 1), (4, 3), (0, 1), (1, 1), (5, 3), (2, 2)), False, id="a level below 0"),
        pytest.param(bits_of((1, 1), (1, 1), (2, 2), (1, 1), *SAME, (2, 2)), False, id="a top level below 0"),
        pytest.param(bits_of((1, 1), (1, 1), (0, 13), (1, 1), *SAME, (2, 2)), False, id="a level too far away"),
    ],
)
def test_bodies(fast: bool, body: bytes, accepted: bool) -> None:
    """A chunk of 4 elements, one kept in 2 bits, gaps in unary."""
    codec = codec_for(span_of(("weights", 4)), Compression(), fast=fast)
    assert (outcome(codec, bytes.fromhex("22100100") + body) is not None) == accepted


@both
@pytest.mark.parametrize(
    "header",
    [
        pytest.param("1214cd00", id="the version before"),
        pytest.param("00000000", id="no version"),
        pytest.param("25000000", id="an unknown form"),
        pytest.param("221ccd00", id="12 low bits"),
        pytest.param("2274cd00", id="value bits that are none"),
        pytest.param("2294cd00", id="counts that vary, and one Rice parameter"),
        pytest.param("22140000", id="none kept"),
        pytest.param("22140110", id="more kept than a chunk has"),
        pytest.param("20010000", id="float32 with a parameter"),
        pytest.param("21000100", id="bfloat16 with a parameter"),
        pytest.param("23020000", id="quantised to 2 bits"),
        pytest.param("24040000", id="low rank of no matrix"),
    ],
)
def test_headers_of_nothing_we_write(fast: bool, header: str) -> None:
    codec = codec_for(span_of(("weights", 100)), Compression(), fast=fast)
    for rest in (b"", b"\x02", bytes(200), bytes(400)):
        assert outcome(codec, bytes.fromhex(header) + rest) is None
    assert outcome(codec, bytes.fromhex("2214cd00") + b"\x02") is not None


@both
@pytest.mark.parametrize("value_bits,codes", [(8, "80" + "00" * 99), (4, "08" + "00" * 49), (8, "7f" + "00" * 99)])
def test_quantised_codes_that_nobody_writes(fast: bool, value_bits: int, codes: str) -> None:
    codec = codec_for(span_of(("weights", 100)), Compression(), fast=fast)
    header, body = bytes([0x23, value_bits, 0, 0]), bytes.fromhex(codes)
    # 127 times the largest step would be infinite.
    assert outcome(codec, header + b"\x7f\x7f" + body) is None
    assert outcome(codec, header + b"\x80\x7f" + bytes(len(body))) is None
    assert (outcome(codec, header + b"\x80\x3f" + body) is None) == (codes[0] != "7")


@both
@pytest.mark.parametrize("method", ["none", "topk"])
@pytest.mark.parametrize("at", [0, 4096, 8192])
def test_a_value_that_is_not_finite(fast: bool, method: MethodName, at: int) -> None:
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
