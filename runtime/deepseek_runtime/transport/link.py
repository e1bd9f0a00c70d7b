"""One connection with one peer, without sockets: what to send next, and what arrived.

Two lanes. Messages up to EXPRESS bytes travel whole and pass between the chunks of large ones, so a heartbeat never
waits for a pull. Order is kept within each lane, not across them: a short message may overtake a long one.

A connection has a random number; every frame bears it, and DATA frames are numbered within it. When it breaks, what
had half arrived is dropped, and what had been half sent is sent again from its first chunk over the next one. So a
message that was wholly sent into a broken connection is lost, and nothing arrives twice or in pieces.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final, Literal

from deepseek_runtime.transport import wire
from deepseek_runtime.transport.chunks import Assembly, Memory, cut, whole
from deepseek_runtime.transport.credits import Allowance, Intake
from deepseek_runtime.transport.wire import Encoded, Flag, Frame, Limits, Message, Terms, WireError

EXPRESS: Final = 64 << 10
"""Bytes of the longest message that takes the express lane."""

_WHOLE: Final = Flag.FIRST | Flag.LAST | Flag.EXPRESS

Part = bytes | memoryview


class LinkBroken(WireError):
    """The peer's count of frames and ours differ: only a new connection helps."""


class Link:
    """Queues and counters towards one peer. One thread.

    own: what this side is ready to receive; queue: most messages that wait in each lane.
    """

    def __init__(self, own: Terms, limits: Limits, queue: int, memory: Memory) -> None:
        self._own = own
        self._limits = limits
        self._queue = queue
        self._memory = memory
        self._express: deque[Encoded] = deque()
        self._bulk: deque[Encoded] = deque()
        self._bulk_bytes = 0
        self.connection = 0
        """0: none is open."""
        self.shut()

    def shut(self) -> None:
        """The connection is gone: forgets what was half received or half sent; what waits goes on waiting."""
        self.connection = 0
        self._chunk = self._own.chunk
        self._out_bulk = self._out_express = Allowance(0)
        self._in_bulk, self._in_express = Intake(self._own.window), Intake(self._own.express)
        self._sequence = self._expected = 0
        self._cutting: Iterator[list[Part]] | None = None
        self._piece: list[Part] | None = None
        self._unsent = 0
        self._first = True
        self._lane: Literal["express", "bulk"] | None = None
        self._inside = False
        self._assembly: Assembly | None = None

    def open(self, connection: int, theirs: Terms) -> None:
        """Begins a connection, with nothing received or sent."""
        self.shut()
        self.connection = connection
        self._chunk = min(self._own.chunk, theirs.chunk)
        self._out_bulk, self._out_express = Allowance(theirs.window), Allowance(theirs.express)

    @property
    def waiting(self) -> bool:
        """Whether messages wait to be sent."""
        return bool(self._express or self._bulk)

    @property
    def backlog(self) -> int:
        """Bytes of the long messages that wait or are half sent."""
        return self._bulk_bytes

    def offer(self, encoded: Encoded) -> bool:
        """Takes a message to be sent; False when its lane's queue is full."""
        if encoded.size <= min(EXPRESS, self._own.chunk):
            if len(self._express) >= self._queue:
                return False
            self._express.append(encoded)
            return True
        full = self._bulk_bytes + encoded.size > self._limits.message
        if self._bulk and (full or len(self._bulk) >= self._queue):
            return False
        self._bulk.append(encoded)
        self._bulk_bytes += encoded.size
        return True

    def next(self) -> list[Part] | None:
        """The parts of the frame that may be sent now; None when there is none. `sent` must follow once it is."""
        self._lane = None
        if not self.connection:
            return None
        if self._express and self._out_express.open:
            self._lane = "express"
            message = self._express[0]
            return [self._prefix(_WHOLE), message.head, b"".join(message.views)]
        if not self._bulk or not self._out_bulk.open:
            return None
        self._lane = "bulk"
        if self._cutting is None:
            self._cutting = cut(self._bulk[0], self._chunk)
            self._unsent, self._first = self._bulk[0].size, True
        if self._piece is None:
            self._piece = next(self._cutting)
        flags = Flag.FIRST if self._first else Flag(0)
        if sum(len(part) for part in self._piece) == self._unsent:
            flags |= Flag.LAST
        return [self._prefix(flags), *self._piece]

    def _prefix(self, flags: Flag) -> bytes:
        return wire.pack_data(self.connection, self._sequence, flags)

    def sent(self) -> None:
        """What `next` gave is on its way."""
        self._sequence += 1
        if self._lane == "express":
            self._out_express.use()
            self._express.popleft()
        elif self._lane == "bulk" and self._piece is not None:
            self._out_bulk.use()
            self._unsent -= sum(len(part) for part in self._piece)
            self._piece, self._first = None, False
            if self._unsent == 0:
                self._cutting = None
                self._bulk_bytes -= self._bulk.popleft().size
        self._lane = None

    def credit(self, frame: Frame) -> None:
        """Takes a CREDIT. Raises LinkBroken for one that cannot be."""
        if not self._out_bulk.grant(frame.chunks) or not self._out_express.grant(frame.expresses):
            raise LinkBroken("credit", "more credit than was used")

    def renewal(self) -> bytes | None:
        """A CREDIT to be sent, once enough was taken."""
        bulk, express = self._in_bulk.renew(), self._in_express.renew()
        if not bulk and not express:
            return None
        return wire.pack_credit(self.connection, self._in_bulk.granted, self._in_express.granted)

    def take(self, frame: Frame) -> Message | None:
        """Takes a DATA frame; the message that it completes, if it does.

        Raises WireError for a message that cannot be read: it alone is lost. LinkBroken: the connection is.
        """
        if frame.sequence != self._expected:
            raise LinkBroken("sequence", f"frame {frame.sequence} where {self._expected} was due")
        self._expected += 1
        express = Flag.EXPRESS in frame.flags
        if not (self._in_express if express else self._in_bulk).take():
            raise LinkBroken("credit", "more frames than were asked for")
        first, last = Flag.FIRST in frame.flags, Flag.LAST in frame.flags
        body = frame.parts[1:] if first else frame.parts
        size = sum(part.nbytes for part in body)
        if express:
            if size + frame.parts[0].nbytes > EXPRESS:
                raise WireError("size", "too large for the express lane")
            return whole(wire.decode_head(frame.parts[0], self._limits), body)
        if first == self._inside:
            raise LinkBroken("chunk", "a message begins within another, or has no beginning")
        self._inside = not last
        assembly, self._assembly = self._assembly, None
        if size > self._own.chunk:
            raise WireError("size", "chunk too large")
        if first:
            head = wire.decode_head(frame.parts[0], self._limits)
            if last:
                return whole(head, body)
            assembly = Assembly(head, self._memory)
        elif assembly is None:
            return None  # the rest of a message that was refused
        assembly.add(body)
        if last:
            return assembly.finish()
        self._assembly = assembly
        return None
