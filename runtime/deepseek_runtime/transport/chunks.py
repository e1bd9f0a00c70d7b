"""Messages cut into chunks, and put together again.

A message of one chunk arrives as views of what ZeroMQ received, without a copy. A longer one is copied together as
it comes, into memory that is used again: the copy of a chunk that is still in the cache is cheap, fresh pages are not
(pushes of 100 MB whose chunks were kept until the message was whole reached half the rate).
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from deepseek_runtime.transport.wire import Encoded, Head, Message, WireError

SMALL: Final = 16 << 10
"""Bytes. Shorter buffers are joined into one part: a part costs more than copying this."""
ALIGN: Final = 16
"""Bytes. What is put together begins at multiples of this."""
WORD: Final = 4
"""Bytes. Every buffer that arrives begins at a multiple of this, a float32. What ZeroMQ received is rarely at one of
16, and a copy only for that costs as much as the update; numpy reads wider types from there too."""


def cut(encoded: Encoded, chunk: int) -> Iterator[list[bytes | memoryview]]:
    """The parts of each chunk, at most `chunk` bytes of buffers each; the first part of the first is the head."""
    parts: list[bytes | memoryview] = [encoded.head]
    small: list[memoryview] = []
    room = chunk

    def close() -> list[bytes | memoryview]:
        if small:
            parts.append(b"".join(small))
            small.clear()
        return parts

    for view in encoded.views:
        start = 0
        while start < view.nbytes:
            if room == 0:
                yield close()
                parts, room = [], chunk
            piece = view[start : start + room]
            if piece.nbytes < SMALL:
                small.append(piece)
            else:
                close().append(piece)
            start += piece.nbytes
            room -= piece.nbytes
    yield close()


class Memory:
    """Arrays that are used again once nobody holds a view of them. One thread.

    limit: bytes that are kept beyond their use.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._arrays: list[npt.NDArray[np.uint8]] = []

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """At least `size` bytes of any content. A new array's pages are only touched as they are written."""
        if size > self._limit:
            return np.empty(size, np.uint8)
        for index in range(len(self._arrays)):
            # A view of an array holds a reference to it; two are the list's and this call's own.
            if size <= self._arrays[index].nbytes <= 2 * size and sys.getrefcount(self._arrays[index]) <= 2:
                array = self._arrays.pop(index)
                break
        else:
            array = np.empty(size, np.uint8)
        self._arrays.append(array)
        while sum(kept.nbytes for kept in self._arrays) > self._limit:
            self._arrays.pop(0)
        return array


def whole(head: Head, parts: Sequence[memoryview]) -> Message:
    """A message whose buffers are all in `parts`. Raises WireError when they are not."""
    if sum(part.nbytes for part in parts) != sum(head.lengths):
        raise WireError("size", "more or fewer bytes than announced")
    buffers: list[memoryview] = []
    index = start = 0
    for length in head.lengths:
        while index < len(parts) and start == parts[index].nbytes:
            index, start = index + 1, 0
        if length == 0:
            buffers.append(memoryview(b""))
        elif start + length <= parts[index].nbytes:
            buffers.append(_aligned(parts[index][start : start + length]))
            start += length
        else:
            raise WireError("size", "a buffer in pieces")
    return Message(head.kind, head.fields, tuple(buffers))


def _aligned(view: memoryview) -> memoryview:
    array = np.frombuffer(view, np.uint8)
    if array.ctypes.data % WORD == 0:
        return view.toreadonly()
    return array.copy().data.toreadonly()


class Assembly:
    """One message of several chunks on its way in. Touches no more memory than has arrived."""

    def __init__(self, head: Head, memory: Memory) -> None:
        self._head = head
        self._places: list[slice] = []
        end = 0
        for length in head.lengths:
            self._places.append(slice(end, end + length))
            end += -(-length // ALIGN) * ALIGN
        try:
            self._bytes = memory.take(end).data
        except MemoryError as error:
            raise WireError("memory", f"no memory for a message of {end} bytes") from error
        self._index = 0
        """The buffer that comes next, or of which `_filled` bytes are there."""
        self._filled = 0

    def add(self, parts: Sequence[memoryview]) -> None:
        """Takes the buffers' bytes of one chunk. Raises WireError when there are more than announced."""
        lengths = self._head.lengths
        for part in parts:
            start = 0
            while start < part.nbytes:
                while self._index < len(lengths) and self._filled == lengths[self._index]:
                    self._index, self._filled = self._index + 1, 0
                if self._index == len(lengths):
                    raise WireError("size", "more bytes than announced")
                taken = min(lengths[self._index] - self._filled, part.nbytes - start)
                place = self._places[self._index].start + self._filled
                self._bytes[place : place + taken] = part[start : start + taken]
                self._filled += taken
                start += taken

    def finish(self) -> Message:
        """The message. Raises WireError when bytes are missing."""
        rest = self._head.lengths[self._index :]
        if sum(rest) != self._filled:
            raise WireError("size", "fewer bytes than announced")
        view = self._bytes.toreadonly()
        return Message(self._head.kind, self._head.fields, tuple(view[place] for place in self._places))
