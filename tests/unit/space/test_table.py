"""The table as JSON, and telling two models apart."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from deepseek_runtime.space import Space, SpaceError, TensorSpec

W = TensorSpec("body.weight", (5000, 3), "float32")
B = TensorSpec("body.bias", (3,), "float32")
M = TensorSpec("mean", (3,), "float32", "buffer")
N = TensorSpec("count", (), "int64", "buffer")
SPACE = Space.build([W, B, M], [N])


def test_reads_what_it_wrote() -> None:
    again = Space.from_json(json.loads(json.dumps(SPACE.to_json())))
    assert again == SPACE
    assert again.difference(SPACE) is None
    assert again.fingerprint() == SPACE.fingerprint()


def test_the_cut_is_kept_even_where_it_would_be_made_otherwise_today() -> None:
    table = SPACE.to_json()
    table["spans"] = [0, 4096]
    again = Space.from_json(table)
    assert [span.start for span in again.spans] == [0, 4096]
    assert "spans here and 2 there" in str(SPACE.difference(again))


def test_the_fingerprint_is_the_same_for_ever() -> None:
    assert SPACE.fingerprint() == "b8202f2dff8b49f62a875d7b7914dbaffd0365d19993e7b6edd2bea686f35bbb"


@pytest.mark.parametrize(
    "specs,integers,sentence",
    [
        ([W, M], [N], "tensor 'body.bias' (3,) is here and not there"),
        ([W, B, M, TensorSpec("more", (1,), "float32")], [N], "tensor 'more' (1,) is there and not here"),
        (
            [TensorSpec("body.weight", (5000, 4), "float32"), B, M],
            [N],
            "tensor 'body.weight' has the shape (5000, 3) here and (5000, 4) there",
        ),
        (
            [W, TensorSpec("body.bias", (3,), "float16"), M],
            [N],
            "tensor 'body.bias' has the dtype float32 here and float16 there",
        ),
        (
            [W, B, TensorSpec("mean", (3,), "float32")],
            [N],
            "tensor 'mean' has the kind buffers here and small there",
        ),
        ([W, TensorSpec("body.bias", (3,), "float32", group=1), M], [N], "tensor 'body.bias' has the group 0 here and"),
        ([W, B, M], [], "integer buffer 'count' () is here and not there"),
        (
            [W, B, M],
            [TensorSpec("count", (), "int32", "buffer")],
            "integer buffer 'count' has the dtype int64 here and int32 there",
        ),
    ],
)
def test_the_first_difference_is_named(specs: list[TensorSpec], integers: list[TensorSpec], sentence: str) -> None:
    other = Space.build(specs, integers)
    assert str(SPACE.difference(other)).startswith(sentence)
    assert other.fingerprint() != SPACE.fingerprint()


def test_another_order_is_a_difference() -> None:
    one = Space.build([B, TensorSpec("other", (3,), "float32")])
    two = Space.build([TensorSpec("other", (3,), "float32"), B])
    assert one.difference(two) == "tensors stand in another order: 'body.bias' here where 'other' is there"
    assert one.fingerprint() != two.fingerprint()


def test_another_cut_is_a_difference_of_the_same_model() -> None:
    other = Space.build([W, B, M], [N], spans=1)
    assert SPACE.difference(other) == "the vector is cut into 3 spans here and 1 there"
    assert SPACE.fingerprint() == other.fingerprint()


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(table: Any) -> None:
        *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
        for step in steps:
            table = table[step]
        table[last] = value

    return apply


@pytest.mark.parametrize(
    "path,value,message",
    [
        ("version", 2, "version 2, this runtime reads 1"),
        ("version", None, "version of the table must be a whole number"),
        ("chunk", 0, "chunk must be 1 to 4096"),
        ("size", 4096, "size is stated as 4096, but the segments need"),
        ("segments", {}, "segments of the table must be a list"),
        ("segments/0", 3, "a segment must be an object"),
        ("segments/0/name", 3, "name and dtype must be text"),
        ("segments/0/kind", "weight", "has the kind 'weight'; known are weights"),
        ("segments/0/kind", "small", "is stated as small at 0"),
        ("segments/0/offset", 4096, "is stated as weights at 4096"),
        ("segments/0/shape", [1.5], "lengths must be whole numbers"),
        ("segments/0/shape", [-1], "no length may be negative"),
        ("segments/0/dtype", "int8", "'body.weight' is int8"),
        ("segments/1/group", "0", "group of tensor 'body.bias' must be a whole number"),
        ("segments/1/name", "body.weight", "two tensors are named"),
        ("integers/0/dtype", "float32", "integer buffer 'count' is float32"),
        ("spans", [], "the first 0"),
        ("spans", [4096], "the first 0"),
        ("spans", [0, 100], "multiples of 4096"),
        ("spans", [0, 8192, 8192], "must grow"),
        ("spans", [0, 1 << 20], "end before the vector does"),
        ("spans", [0, True], "multiples of 4096"),
    ],
)
def test_a_damaged_table_is_refused_with_the_field(path: str, value: Any, message: str) -> None:
    table = SPACE.to_json()
    change(path, value)(table)
    with pytest.raises(SpaceError, match=message):
        Space.from_json(table)


@pytest.mark.parametrize("table", [None, [], "text", {}])
def test_no_table_at_all(table: object) -> None:
    with pytest.raises(SpaceError, match="table"):
        Space.from_json(table)
