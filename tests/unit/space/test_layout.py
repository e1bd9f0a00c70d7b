"""Where tensors lie, and how the vector is cut."""

from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_runtime.space import CHUNK, Run, Space, SpaceError, TensorSpec

MODEL = [
    TensorSpec("conv.weight", (64, 3, 32, 1), "float32"),
    TensorSpec("norm.weight", (64,), "torch.float32"),
    TensorSpec("norm.bias", (64,), "float32"),
    TensorSpec("norm.running_mean", (64,), "float32", "buffer"),
    TensorSpec("head.weight", (10, 4096), "bfloat16", group=1),
    TensorSpec("scale", (), "float32", group=1),
    TensorSpec("table", (8192,), "float64", "buffer"),
    TensorSpec("empty", (0, 5), "float32"),
]
INTEGERS = [TensorSpec("norm.batches", (), "int64", "buffer"), TensorSpec("seen", (3,), "uint8", "buffer")]


def test_tensors_of_a_kind_and_group_lie_together_from_a_chunk_boundary() -> None:
    space = Space.build(MODEL, INTEGERS)
    assert [(s.name, s.kind, s.group, s.offset, s.size) for s in space.segments] == [
        ("conv.weight", "weights", 0, 0, 6144),
        ("head.weight", "weights", 1, 8192, 40960),
        ("norm.weight", "small", 0, 49152, 64),
        ("norm.bias", "small", 0, 49216, 64),
        ("empty", "small", 0, 49280, 0),
        ("scale", "small", 1, 53248, 1),
        ("norm.running_mean", "buffers", 0, 57344, 64),
        ("table", "buffers", 0, 57408, 8192),
    ]
    assert space.size == 17 * CHUNK
    assert space.parameters == 6144 + 40960 + 64 + 64 + 1
    assert [(b.name, b.offset, b.size) for b in space.integers] == [("norm.batches", 0, 1), ("seen", 1, 3)]
    assert space.integers_size == 4


def test_spans_have_two_chunks_or_more_and_runs_leave_out_padding() -> None:
    space = Space.build(MODEL)
    assert [(span.start // CHUNK, span.stop // CHUNK) for span in space.spans] == [
        (0, 2), (2, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14), (14, 17)
    ]  # fmt: skip
    assert space.spans[0].runs == (Run("weights", 0, 0, 6144),)
    assert space.spans[6].runs == (Run("small", 0, 0, 128), Run("small", 1, 4096, 4097))
    assert space.spans[7].runs == (Run("buffers", 0, 0, 8256),)


def test_a_model_of_less_than_two_chunks_is_one_span() -> None:
    space = Space.build([TensorSpec("w", (3,), "float32")])
    assert (space.size, len(space.spans), space.spans[0].size) == (CHUNK, 1, CHUNK)


ROLES: list[Literal["parameter", "buffer"]] = ["parameter", "parameter", "buffer"]


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    specs = [
        TensorSpec(f"t{i}", tuple(shape), "float32", role, group)
        for i, (shape, role, group) in enumerate(
            draw(
                st.lists(
                    st.tuples(
                        st.lists(st.integers(0, 40), max_size=3),
                        st.sampled_from(ROLES),
                        st.integers(0, 2),
                    ),
                    max_size=12,
                )
            )
        )
    ]
    specs.append(TensorSpec("last", (2, 3), "float32"))
    return Space.build(specs, spans=draw(st.integers(1, 70)), chunk=draw(st.sampled_from([8, 64, CHUNK])))


@given(spaces())
def test_each_element_of_a_tensor_is_in_one_run_and_padding_in_none(space: Space) -> None:
    covered = np.zeros(space.size, np.int64)
    for span in space.spans:
        assert span.start % space.chunk == span.stop % space.chunk == 0
        assert span.runs
        for run in span.runs:
            assert run.start % space.chunk == 0
            covered[span.start + run.start : span.start + run.stop] += 1
    expected = np.zeros(space.size, np.int64)
    for segment in space.segments:
        expected[segment.offset : segment.stop] += 1
    np.testing.assert_array_equal(covered, expected)


@given(spaces(), st.integers(1, 70))
def test_spans_are_of_nearly_equal_size(space: Space, wanted: int) -> None:
    chunks = [span.size // space.chunk for span in space.spans]
    assert max(chunks) - min(chunks) <= 1
    assert min(chunks) >= 2 or len(chunks) == 1
    assert space.spans[0].start == 0 and space.spans[-1].stop == space.size
    assert all(a.stop == b.start for a, b in pairwise(space.spans))


@pytest.mark.parametrize(
    "specs,integers,message",
    [
        ([], [], "no parameter to train"),
        ([TensorSpec("mean", (9,), "float32", "buffer")], [], "no parameter to train"),
        ([TensorSpec("w", (9,), "int8")], [], "'w' is int8; trained tensors must be one of"),
        ([TensorSpec("w", (9,), "float32")], [TensorSpec("mask", (9,), "bool", "buffer")], "'mask' is bool"),
        ([TensorSpec("w", (9,), "float32"), TensorSpec("w", (9,), "float32")], [], "two tensors are named 'w'"),
        ([TensorSpec("w", (9,), "float32")], [TensorSpec("w", (9,), "int64", "buffer")], "two tensors are named 'w'"),
        ([TensorSpec("w", (-1,), "float32")], [], "no length may be negative"),
        ([TensorSpec("", (1,), "float32")], [], "no name"),
        ([TensorSpec("w", (1,), "float32", group=-1)], [], "groups count from 0"),
    ],
)
def test_what_cannot_be_laid_out(specs: list[TensorSpec], integers: list[TensorSpec], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Space.build(specs, integers)
