"""A snapshot stays as it was taken, and costs a copy only while somebody has it."""

import threading
from typing import Any

import numpy as np
import pytest

from builders.spans import push_of, span_of
from deepseek_runtime.checkpoint.memory import MemoryStore
from deepseek_runtime.checkpoint.read import verify_part
from deepseek_runtime.checkpoint.spans import read_span, write_spans
from deepseek_runtime.checkpoint.store import StoreError
from deepseek_runtime.contract.names import Member
from deepseek_runtime.lent import held_elsewhere
from deepseek_runtime.protocol.files import FileRef

WORKER = Member("worker", 0, 0)


def test_views_and_buffers_count_as_holders() -> None:
    held = [np.zeros(8, np.float32)]

    def elsewhere() -> bool:  # pytest's own way of writing an assert would hold the array too
        return held_elsewhere(held[0], 1)

    assert not elsewhere()
    others: list[Any] = [held[0][:], held[0][2:].T, held[0].data, held[0].reshape(2, 4)]
    while others:
        assert elsewhere()
        others.pop()
    assert not elsewhere()


@pytest.mark.parametrize("mode", ["dense", "topk", "nesterov"])
def test_what_is_applied_after_a_snapshot_is_not_in_it(mode: str) -> None:
    span = span_of(mode)
    span.push(WORKER, push_of(span, 1), True)
    before, state = span.theta.copy(), {k: v.copy() for k, v in span.parts.rule.state()[0].items()}
    part = span.snapshot()
    assert part.theta is span.theta  # nothing is copied yet
    for sequence in (2, 3):
        span.push(WORKER, push_of(span, sequence), True)
    assert np.array_equal(part.theta, before)
    assert not np.array_equal(span.theta, before)
    assert all(np.array_equal(part.extra[name], array) for name, array in state.items())
    if mode == "dense":
        assert span.p is span.theta


def test_what_is_written_is_not_copied() -> None:
    span = span_of("dense")
    part = span.snapshot()
    theta = span.theta
    at = theta.ctypes.data
    del theta
    part.let_go()
    span.push(WORKER, push_of(span, 1), True)
    assert span.theta.ctypes.data == at


class Failing(MemoryStore):
    """Refuses the third file that it is asked for."""

    opened = 0

    def open_write(self, path: str):  # type: ignore[no-untyped-def]
        self.opened += 1
        if self.opened == 3:
            raise StoreError("unreachable", "away")
        return super().open_write(path)


def test_a_second_try_writes_only_what_is_missing() -> None:
    store, done = Failing("memory://failing"), {}  # type: ignore[var-annotated]
    spans = [span_of("dense", index) for index in range(6)]
    parts = [span.snapshot() for span in spans]
    with pytest.raises(StoreError):
        write_spans(store, 1, 5, parts, done)
    assert threading.active_count() < 50
    first = dict(done)
    assert 0 < len(first) < 6
    assert all((part.theta.size == 0) == (part.span in first) for part in parts)
    write_spans(store, 1, 5, parts, done)
    assert sorted(done) == list(range(6))
    assert {k: done[k] for k in first} == first
    for span in spans:
        ref: FileRef = done[span.index]
        verify_part(store, ref)
        assert np.array_equal(read_span(store, ref, span.index).theta, span.theta)
