"""index.json and base.json: golden files, damage, and that each is written once."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.checkpoints import a_checkpoint
from deepseek_runtime.checkpoint.index import (
    Index,
    _seal,
    decode_index,
    encode_index,
    read_base,
    read_index,
    survey,
    verify,
    write_base,
    write_index,
)
from deepseek_runtime.checkpoint.memory import MemoryStore
from deepseek_runtime.checkpoint.store import StoreError
from deepseek_runtime.protocol.lineage import Base, Step

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[MemoryStore]:
    made = MemoryStore(f"memory://{request.node.nodeid}")
    yield made
    made.files.clear()


def golden_index(store: MemoryStore) -> Index:
    index = a_checkpoint(store, 2, 30, parent=Step(1, 20))
    return index.model_copy(update={"loss_scale": 65536.0})


def test_the_golden_index_is_what_is_written_and_read(store: MemoryStore) -> None:
    index = golden_index(store)
    golden = (GOLDEN / "index.json").read_bytes()
    assert encode_index(index) == golden
    assert decode_index(golden, "golden") == index


def test_the_golden_part_is_what_is_written(store: MemoryStore) -> None:
    index = golden_index(store)
    assert store.get(index.parts[0].path) == (GOLDEN / "span-0.safetensors").read_bytes()


@pytest.mark.parametrize(
    "name, base", [("base-restored.json", Base(restored=Step(1, 20))), ("base-continues.json", Base(continues=1))]
)
def test_the_golden_bases_are_what_is_written_and_read(store: MemoryStore, name: str, base: Base) -> None:
    write_base(store, 2, base)
    assert store.get("t2/base.json") == (GOLDEN / name).read_bytes()
    assert read_base(store, 2) == base


def test_fields_of_a_newer_version_are_ignored(store: MemoryStore) -> None:
    document = golden_index(store).model_dump(mode="json") | {"new": [1]}
    assert decode_index(_seal(document), "x").step == 30


def test_an_index_of_another_version_asks_for_the_right_runtime(store: MemoryStore) -> None:
    document = golden_index(store).model_dump(mode="json") | {"version": 2}
    with pytest.raises(StoreError, match="use the runtime that wrote it") as caught:
        decode_index(_seal(document), "x")
    assert caught.value.kind == "failed"


def test_a_step_has_one_index(store: MemoryStore) -> None:
    first = a_checkpoint(store, 1, 10)
    before = store.get("t1/step-10/index.json")
    again = write_index(store, first.model_copy(update={"created": "2026-01-02T00:00:00Z"}))
    assert again == first
    assert store.get("t1/step-10/index.json") == before


def test_a_term_has_one_base(store: MemoryStore) -> None:
    write_base(store, 2, Base(restored=Step(1, 10)))
    write_base(store, 2, Base(restored=Step(1, 10)))
    with pytest.raises(StoreError, match="restored checkpoint 10 of term 1; it cannot become: continues") as caught:
        write_base(store, 2, Base(continues=1))
    assert caught.value.kind == "conflict"
    assert read_base(store, 2) == Base(restored=Step(1, 10))
    assert read_base(store, 3) is None


def test_a_base_under_another_terms_name_is_damage(store: MemoryStore) -> None:
    write_base(store, 2, Base(continues=1))
    store.files["t3/base.json"] = store.files["t2/base.json"]
    with pytest.raises(StoreError, match="damaged"):
        read_base(store, 3)


def test_an_index_under_another_steps_name_is_damage(store: MemoryStore) -> None:
    a_checkpoint(store, 1, 10)
    store.files["t1/step-20/index.json"] = store.files["t1/step-10/index.json"]
    with pytest.raises(StoreError, match="it is of step 10 of term 1"):
        read_index(store, 1, 20)


def test_an_index_cut_short_anywhere_is_damage(store: MemoryStore) -> None:
    whole = encode_index(golden_index(store))
    for length in range(0, len(whole) - 1, 7):
        assert kind_of(whole[:length]) == "damaged"


def test_a_changed_character_anywhere_is_damage(store: MemoryStore) -> None:
    golden = encode_index(golden_index(store))
    index = decode_index(golden, "x")
    for place in range(0, len(golden), 3):
        changed = golden[:place] + bytes([golden[place] ^ 1]) + golden[place + 1 :]
        try:
            assert decode_index(changed, "x") == index  # only white space became other white space
        except StoreError as error:
            assert error.kind == "damaged"  # noqa: PT017 - either is right


def _without_part(document: dict[str, Any]) -> None:
    document["parts"].pop()


def _doubled(document: dict[str, Any]) -> None:
    document["parts"][1]["span"] = 0


def _outside(document: dict[str, Any]) -> None:
    document["parts"][0]["path"] = "../../etc/passwd"


def _bad_sum(document: dict[str, Any]) -> None:
    document["parts"][0]["sha256"] = "x"


def _bad_space(document: dict[str, Any]) -> None:
    document["space"]["size"] = 3


def _negative(document: dict[str, Any]) -> None:
    document["step"] = -1


@pytest.mark.parametrize("change", [_without_part, _doubled, _outside, _bad_sum, _bad_space, _negative])
def test_an_index_that_contradicts_itself_is_damage(
    store: MemoryStore, change: Callable[[dict[str, Any]], None]
) -> None:
    document = golden_index(store).model_dump(mode="json")
    change(document)
    assert kind_of(_seal(document)) == "damaged"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
def test_any_sealed_document_is_read_or_refused(data: st.DataObject) -> None:
    """Even one whose checksum fits: fields replaced by anything that JSON can say."""
    document = json.loads((GOLDEN / "index.json").read_bytes())
    document.pop("sha256")
    for field in data.draw(st.lists(st.sampled_from(sorted(document)), min_size=1, max_size=3)):
        document[field] = data.draw(json_values)
    assert kind_of(_seal(document)) in ("fine", "damaged", "failed")


@given(st.binary(max_size=50) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_other_bytes_are_damage(data: bytes) -> None:
    assert kind_of(data) == "damaged"


def test_verify_reads_every_file(store: MemoryStore) -> None:
    index = a_checkpoint(store, 1, 10)
    verify(store, index)
    for part in index.parts:
        whole = store.files[part.path]
        store.files[part.path] = whole[:-1] + bytes([whole[-1] ^ 1])
        with pytest.raises(StoreError, match=part.path):
            verify(store, index)
        store.files[part.path] = whole


def test_survey_tells_finished_from_begun(store: MemoryStore) -> None:
    a_checkpoint(store, 1, 10)
    store.put("t1/step-20/span-0.safetensors", b"")
    store.put("t2/step-x/index.json", b"")
    write_base(store, 1, Base(restored=Step(1, 0)))
    seen = survey(store)
    assert seen.bases == {1: Base(restored=Step(1, 0))}
    assert seen.indexes == {1: {10}}
    assert seen.folders == {(1, 10), (1, 20)}


def kind_of(data: bytes) -> str:
    try:
        decode_index(data, "x")
    except StoreError as error:
        return error.kind
    return "fine"
