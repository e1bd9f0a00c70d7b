"""A copy is what the span was when it began, however the span is written meanwhile."""

import hashlib
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_runtime.checkpoint.memory import MemoryStore
from deepseek_runtime.checkpoint.read import read_part
from deepseek_runtime.checkpoint.span_copy import SpanCopy
from deepseek_runtime.checkpoint.write import Part, write_part


def taken(copy: SpanCopy) -> list[float]:
    return [float(value) for piece in copy.pieces() for value in piece]


@given(st.integers(0, 40), st.integers(1, 9), st.lists(st.tuples(st.integers(0, 45), st.integers(0, 45))), st.data())
def test_what_is_copied_is_the_instant_it_began(
    size: int, piece: int, writes: list[tuple[int, int]], data: st.DataObject
) -> None:
    theta = np.arange(size, dtype=np.float32)
    copy = SpanCopy(theta, piece=piece)
    pieces, got = copy.pieces(), []
    for start, stop in writes:
        if data.draw(st.booleans()) and (next_piece := next(pieces, None)) is not None:
            got += next_piece.tolist()
        copy.before_write(start, stop)
        theta[start:stop] += 1000
    got += [value for rest in pieces for value in rest.tolist()]
    assert got == list(range(size))
    assert taken(copy) == got  # a write that is tried again sees the same


def test_only_what_is_written_is_copied_early() -> None:
    theta = np.zeros(100, np.float32)
    copy = SpanCopy(theta, piece=10)
    copy.before_write(25, 31)
    assert copy._copied.tolist() == [False, False, True, True] + [False] * 6
    assert not copy.complete
    copy.before_write(0, 100)
    assert copy.complete


def test_the_buffer_is_reused() -> None:
    first = SpanCopy(np.ones(10, np.float32))
    assert taken(first) == [1] * 10
    buffer = first.release()
    second = SpanCopy(np.zeros(10, np.float32), buffer)
    assert taken(second) == [0] * 10
    assert np.shares_memory(second.release(), buffer)


@pytest.mark.parametrize("seed", range(5))
def test_a_writer_thread_sees_one_instant(seed: int) -> None:
    theta = np.zeros(4096, np.float32)
    copy = SpanCopy(theta, piece=64)
    store = MemoryStore(f"memory://span-copy-{seed}")
    thread = threading.Thread(target=lambda: write_part(store, "x", {"theta": copy}, {}))
    thread.start()
    for start in np.random.default_rng(seed).permutation(64) * 64:
        copy.before_write(int(start), int(start) + 64)
        theta[start : start + 64] = 1
    thread.join(20)
    data = store.get("x")
    assert not read_part(store, Part("x", hashlib.sha256(data).hexdigest(), len(data)))["theta"].any()
