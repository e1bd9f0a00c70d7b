"""A part comes back bit for bit, any reader of the format reads it, and damage never goes unseen."""

import hashlib
import json
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load

from deepseek_runtime.checkpoint.memory import MemoryStore
from deepseek_runtime.checkpoint.read import read_part, verify_part
from deepseek_runtime.checkpoint.spans import read_span, write_span
from deepseek_runtime.checkpoint.store import StoreError
from deepseek_runtime.checkpoint.tensors import BFLOAT16, Array, FormatError, decode_header, encode_header, lay_out
from deepseek_runtime.checkpoint.write import Part, digest_of, write_part
from deepseek_runtime.protocol.applied import AppliedSet
from deepseek_runtime.protocol.effects import PartData

TENSORS: dict[str, Array] = {
    "theta": np.arange(10, dtype=np.float32),
    "applied": np.array([7, 9, 12], np.int64),
    "none": np.zeros(0, np.int64),
    "scalar": np.array(3.5),
    "flags": np.array([[True, False], [False, True]]),
    "half": np.array([1, 2, 3], np.float16),
    "bytes": np.array([1, 2, 255], np.uint8),
    "wrong order": np.arange(6, dtype=">i4").reshape(2, 3).T,
}


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[MemoryStore]:
    made = MemoryStore(f"memory://{request.node.nodeid}")
    yield made
    made.files.clear()


def test_a_part_comes_back(store: MemoryStore) -> None:
    part = write_part(store, "t1/step-1/span-0.safetensors", TENSORS, {"span": "0"})
    assert part.size == len(store.get(part.path))
    back = read_part(store, part)
    assert back.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert back[name].shape == array.shape
        assert back[name].dtype == array.dtype.newbyteorder("<")
        assert np.array_equal(back[name], array)
    verify_part(store, part)


def test_the_reference_reader_reads_it(store: MemoryStore, tmp_path: object) -> None:
    part = write_part(store, "x", TENSORS, {"span": "0"})
    for name, array in load(store.get(part.path)).items():
        assert np.array_equal(array, TENSORS[name])


def test_the_reference_reader_sees_the_metadata(store: MemoryStore, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("x") / "part.safetensors"
    path.write_bytes(store.get(write_part(store, "x", TENSORS, {"span": "0", "ä": "ö"}).path))
    with safe_open(path, "numpy") as file:
        assert file.metadata() == {"span": "0", "ä": "ö"}


def test_every_tensor_is_aligned_whatever_the_names() -> None:
    header = lay_out({name: (array.dtype, array.shape) for name, array in TENSORS.items()}, {})
    beginning = len(encode_header(header))
    assert all((beginning + entry.start) % entry.dtype.itemsize == 0 for entry in header.entries)


def test_bfloat16_travels_as_bits(store: MemoryStore) -> None:
    bits = np.array([0x3F80, 0xC000], np.uint16)
    part = write_part(store, "x", {"w": bits.view(BFLOAT16)}, {})
    assert b'"BF16"' in store.get("x")
    back = read_part(store, part)["w"]
    assert back.dtype == BFLOAT16
    assert np.array_equal(back.view(np.uint16), bits)


@pytest.mark.parametrize("dtype", [np.dtype("U3"), np.dtype("O"), np.dtype([("a", "<u2")]), np.dtype("M8[s]")])
def test_a_dtype_that_the_format_lacks_is_named(store: MemoryStore, dtype: np.dtype[np.generic]) -> None:
    with pytest.raises(ValueError, match="safetensors has no dtype for"):
        write_part(store, "x", {"w": np.zeros(2, dtype)}, {})
    assert store.list() == []


def test_a_flipped_bit_anywhere_is_damage(store: MemoryStore) -> None:
    part = write_part(store, "x", TENSORS, {"span": "0"})
    whole = store.files["x"]
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        store.files["x"] = bytes(damaged)
        for use in (read_part, verify_part):
            with pytest.raises(StoreError, match="is damaged") as caught:
                use(store, part)
            assert caught.value.kind == "damaged"


def test_a_file_of_another_length_is_damage(store: MemoryStore) -> None:
    part = write_part(store, "x", TENSORS, {})
    whole = store.files["x"]
    for damaged in (b"", whole[:4], whole[:20], whole[:-1], whole + b"\0"):
        store.files["x"] = damaged
        with pytest.raises(StoreError) as caught:
            read_part(store, part)
        assert caught.value.kind == "damaged"


def test_a_missing_part_is_missing(store: MemoryStore) -> None:
    with pytest.raises(StoreError) as caught:
        read_part(store, Part("t1/nothing", "0" * 64, 10))
    assert caught.value.kind == "missing"


def _tensor(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> str:
    return json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        '{"a": 1}',
        '{"__metadata__": {"a": 1}}',
        '{"__metadata__": []}',
        _tensor("F33"),
        _tensor(["F32"]),
        _tensor(shape=[2]),
        _tensor(shape=[-1]),
        _tensor(shape=["1"]),
        _tensor(shape=[1.0]),
        _tensor(shape=1),
        _tensor(offsets=[0]),
        _tensor(offsets=[4, 8]),
        _tensor(offsets=[-4, 0]),
        _tensor(shape=[0], offsets=[4, 4]),
    ],
)
def test_a_header_that_breaks_the_rules_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        decode_header(text.encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_damage(data: bytes) -> None:
    store = MemoryStore("memory://fuzz")
    store.put("x", data)
    kind = "damaged"
    try:
        read_part(store, Part("x", hashlib.sha256(data).hexdigest(), len(data)))
    except StoreError as error:
        kind = error.kind
    assert kind == "damaged"


def test_the_name_of_content_depends_on_content_alone() -> None:
    first = digest_of({"a": np.zeros(3), "b": np.ones(2)})
    assert first == digest_of({"b": np.ones(2), "a": np.zeros(3)})
    assert first != digest_of({"a": np.zeros(3), "b": np.zeros(2)})
    assert len(first) == 16


def span_data() -> PartData:
    return PartData(
        span=3,
        theta=np.linspace(-1, 1, 8192, dtype=np.float32),
        applied=AppliedSet(5, {7, 9}),
        skipped={2, 7},
        ordinal=41,
        lost=0.1,
        residuals={"worker-0-1": 0.25},
        pushed=1e300,
        integers=np.array([3, -1], np.int64),
        extra={"momentum": np.ones(8192, np.float32)},
        extra_scalars={"turn": 0.1},
    )


def test_a_span_comes_back(store: MemoryStore) -> None:
    data = span_data()
    ref = write_span(store, 2, 100, data)
    assert ref.path == "t2/step-100/span-3.safetensors"
    back = read_span(store, ref, 3)
    for field in ("span", "applied", "skipped", "ordinal", "lost", "residuals", "pushed", "extra_scalars"):
        assert getattr(back, field) == getattr(data, field), field
    assert np.array_equal(back.theta, data.theta)
    assert np.array_equal(back.extra["momentum"], data.extra["momentum"])
    assert back.integers is not None
    assert back.integers.tolist() == [3, -1]
    back.theta[0] = 5  # restored weights are trained on


def test_a_span_without_integers_has_none(store: MemoryStore) -> None:
    data = span_data()
    data.integers = None
    assert read_span(store, write_span(store, 2, 100, data), 3).integers is None


def test_the_part_of_another_span_is_damage(store: MemoryStore) -> None:
    ref = write_span(store, 2, 100, span_data())
    with pytest.raises(StoreError, match="no part of span 4: it is of span 3") as caught:
        read_span(store, ref, 4)
    assert caught.value.kind == "damaged"


def test_a_file_that_is_no_span_is_damage(store: MemoryStore) -> None:
    with pytest.raises(StoreError, match="no part of span 0"):
        read_span(store, write_part(store, "x", {"theta": np.zeros(3, np.float32)}, {}), 0)
