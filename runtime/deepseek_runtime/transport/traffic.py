"""What all links of one post share: limits, counters, what has arrived, and the way to and from a socket."""

import errno
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import zmq

from deepseek_runtime.transport import wire
from deepseek_runtime.transport.chunks import Memory
from deepseek_runtime.transport.link import Link, LinkBroken, Part
from deepseek_runtime.transport.wire import Frame, Kind, Limits, Message, Terms, WireError

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]

_COPY: Final = 64 << 10
"""Bytes up to which ZeroMQ copies a part at once: cheaper than to hold it."""
_BATCH: Final = 64
"""Frames read from one socket before the others have their turn."""
_FULL: Final = 256
"""Messages after which no more are read until they have been handed over."""
_CURVE_PART: Final = 33
"""Bytes that CURVE adds to each part."""


class Unreachable(Exception):
    """A ROUTER has no connection with the peer."""


class Traffic:
    def __init__(self, identity: str, own: Terms, limits: Limits, queue: int, memory: Memory, curve: bool) -> None:
        self.identity = identity
        self.own = own
        self.inbox: list[tuple[str, Message]] = []
        self.refused: Counter[str] = Counter()
        self.bytes_sent = 0
        self.bytes_received = 0
        self.limits = limits
        self._queue = queue
        self._memory = memory
        self._part = _CURVE_PART if curve else 0

    def refuse(self, reason: str) -> None:
        self.refused[reason] += 1

    def link(self) -> Link:
        return Link(self.own, self.limits, self._queue, self._memory)

    def put(self, socket: Socket, parts: Sequence[Part], to: str | None = None) -> bool:
        """Hands a frame to ZeroMQ; False when it would not take it now. Raises Unreachable (a ROUTER only)."""
        every = parts if to is None else [to.encode(), *parts]
        for index, part in enumerate(every):
            more = zmq.SNDMORE if index < len(every) - 1 else 0
            try:
                socket.send(part, zmq.NOBLOCK | more, copy=len(part) <= _COPY)
            except zmq.Again:
                if index == 0:
                    return False
                # The connection died under the frame: ZeroMQ drops the rest of it, but has to be given it.
            except zmq.ZMQError as error:
                if error.errno == errno.EHOSTUNREACH:
                    raise Unreachable(to) from error
                raise
        self.bytes_sent += sum(self._weight(len(part)) for part in parts)
        return True

    def drain(self, socket: Socket, take: Callable[[list["zmq.Frame"]], None]) -> bool:
        """Reads what waits, up to a batch; whether that was all."""
        for _ in range(_BATCH):
            if len(self.inbox) >= _FULL:
                return False
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return True
            take(frames)
        return False

    def read(self, frames: Sequence["zmq.Frame"]) -> Frame | None:
        """The frame in these parts; None, and counted, if it is none."""
        parts = [frame.buffer for frame in frames]
        self.bytes_received += sum(self._weight(part.nbytes) for part in parts)
        try:
            return wire.unpack(parts)
        except WireError as error:
            self.refuse(error.reason)
            return None

    def _weight(self, size: int) -> int:
        return size + self._part + (2 if size + self._part <= 255 else 9)

    def deliver(self, peer: str, link: Link, frame: Frame) -> bool:
        """Takes a DATA or CREDIT frame of the link's present connection; False when the link is broken by it."""
        try:
            if frame.kind is Kind.CREDIT:
                link.credit(frame)
                return True
            message = link.take(frame)
        except LinkBroken as error:
            self.refuse(error.reason)
            return False
        except WireError as error:
            self.refuse(error.reason)
            return True
        if message is not None:
            self.inbox.append((peer, message))
        return True
