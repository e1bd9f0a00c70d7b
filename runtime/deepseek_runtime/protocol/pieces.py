"""What is as large as the model goes in messages of a few spans, not in one.

Each travels while the next is made, arrives in one chunk, without being put together, and is applied while the next
one is on its way; nobody holds the whole of it. A span is the unit of all rules, so nothing follows from how they are
grouped (protocol.md, Words).
"""

from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

PIECE: Final = 1 << 20
"""Bytes of payloads with which a message is closed: with one more span of a usual size it is a chunk of the
transport's."""


def pieces(items: Iterable[tuple[T, int]], least: int) -> Iterator[list[T]]:
    """Groups of items of (item, bytes), in order, each closed when it has `least` bytes.

    Lazily: what follows a group is made when the group has been taken.
    """
    group: list[T] = []
    size = 0
    for item, length in items:
        group.append(item)
        size += length
        if size >= least:
            yield group
            group, size = [], 0
    if group:
        yield group
