"""A span's weights as they were at one instant, while the span goes on changing: copied piece by piece, each before its
first write (Checkpoints 1). The longest that a push waits is the copy of one piece.
"""

import threading
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

PIECE: Final = 1 << 18
"""Elements copied at once: 1 MB, about 0.1 ms."""


class SpanCopy:
    """What `theta` [n] was when this was made. May be written as a tensor of a part, and again (`tensors.Streamed`).

    The owner of theta calls `before_write` before it changes elements; any other thread may take the pieces meanwhile.
    buffer: [>= n], reused from an earlier copy, because a fresh one costs several times more than the copying.
    """

    def __init__(self, theta: F32, buffer: F32 | None = None, piece: int = PIECE) -> None:
        self._theta: F32 | None = theta
        self._buffer = np.empty(len(theta), np.float32) if buffer is None else buffer[: len(theta)]
        self._size = len(theta)
        self._piece = piece
        self._copied = np.zeros(-(-len(theta) // piece), np.bool_)
        self._lock = threading.Lock()

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._size,)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._buffer.dtype

    @property
    def complete(self) -> bool:
        """All is copied: theta is no longer looked at, and `before_write` need not be called."""
        return self._theta is None

    def before_write(self, start: int, stop: int) -> None:
        """Copies what of elements start .. stop is not copied yet."""
        if self._theta is None:
            return
        for index in range(start // self._piece, -(-min(stop, self._size) // self._piece)):
            self._copy(index)

    def pieces(self) -> Iterator[F32]:
        """All pieces in order, each copied now if it was not before."""
        for index in range(len(self._copied)):
            self._copy(index)
            yield self._buffer[index * self._piece : min((index + 1) * self._piece, self._size)]

    def release(self) -> F32:
        """The buffer, for the next copy; this one must not be used any more."""
        with self._lock:
            self._theta = None
        return self._buffer

    def _copy(self, index: int) -> None:
        with self._lock:
            if self._theta is None or self._copied[index]:
                return
            here = slice(index * self._piece, (index + 1) * self._piece)
            self._buffer[here] = self._theta[here]
            self._copied[index] = True
            if self._copied.all():
                self._theta = None
