"""Cutting and putting together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_runtime.transport import wire
from deepseek_runtime.transport.chunks import WORD, Assembly, Memory, cut, whole
from deepseek_runtime.transport.wire import Head, Limits, Message, WireError

LIMITS = Limits()


def pieces(message: Message, chunk: int) -> tuple[Head, list[list[memoryview]]]:
    chunks = [[memoryview(part) for part in parts] for parts in cut(wire.encode(message, LIMITS), chunk)]
    head = wire.decode_head(chunks[0].pop(0), LIMITS)
    return head, chunks


@settings(max_examples=150, deadline=None)
@given(lengths=st.lists(st.integers(0, 70_000), max_size=8), chunk=st.sampled_from([1000, 16 << 10, 50_000, 1 << 20]))
def test_what_is_cut_comes_together(lengths: list[int], chunk: int) -> None:
    source = np.random.default_rng(1)
    buffers = tuple(source.bytes(length) for length in lengths)
    head, chunks = pieces(Message("x", {"a": 1}, buffers), chunk)
    assert all(sum(part.nbytes for part in parts) <= chunk for parts in chunks)
    assert len(chunks) == max(1, -(-sum(lengths) // chunk))
    if len(chunks) == 1:
        message = whole(head, chunks[0])
    else:
        assembly = Assembly(head, Memory(1 << 20))
        for parts in chunks:
            assembly.add(parts)
        message = assembly.finish()
    assert tuple(map(bytes, message.buffers)) == buffers
    for buffer in message.buffers:
        assert isinstance(buffer, memoryview)
        assert buffer.readonly
        if buffer.nbytes:
            assert np.frombuffer(buffer, np.uint8).ctypes.data % WORD == 0


def test_small_buffers_share_a_part_and_large_ones_are_not_copied() -> None:
    large = bytes(40_000)
    parts = next(cut(wire.encode(Message("x", {}, (b"a", b"b", large, b"c")), LIMITS), 1 << 20))
    assert [len(part) for part in parts[1:]] == [2, 40_000, 1]
    assert isinstance(parts[2], memoryview)
    assert parts[2].obj is large


@pytest.mark.parametrize("sizes", [[5], [4, 5], [3, 3, 3, 3]])
def test_more_or_fewer_bytes_than_announced_are_refused(sizes: list[int]) -> None:
    head = Head("x", {}, (4, 4))
    with pytest.raises(WireError):
        whole(head, [memoryview(bytes(size)) for size in sizes])
    assembly = Assembly(head, Memory(100))
    with pytest.raises(WireError):
        add_all(assembly, sizes)


def add_all(assembly: Assembly, sizes: list[int]) -> Message:
    for size in sizes:
        assembly.add([memoryview(bytes(size))])
    return assembly.finish()


def test_memory_is_used_again_when_nobody_looks_at_it() -> None:
    memory = Memory(1 << 20)
    head = Head("x", {}, (1000, 1000))
    assembly = Assembly(head, memory)
    assembly.add([memoryview(b"a" * 2000)])
    message = assembly.finish()
    address = np.frombuffer(message.buffers[0], np.uint8).ctypes.data
    del assembly
    view = np.frombuffer(message.buffers[1], np.uint8)
    del message
    assert memory.take(2000).ctypes.data != address
    assert bytes(view) == b"a" * 1000
    del view
    assert address in {memory.take(2000).ctypes.data for _ in range(2)}


def test_memory_keeps_no_more_than_its_limit() -> None:
    memory = Memory(10_000)
    for size in (4000, 8000, 20_000, 3000):
        memory.take(size)
    assert sum(array.nbytes for array in memory._arrays) <= 10_000
