"""One dialled peer: its DEALER, what ZeroMQ's monitor says of it, and the greeting that opens a connection."""

import math
import secrets
import struct
from typing import Final

import zmq

from deepseek_runtime.transport import wire
from deepseek_runtime.transport.link import Link
from deepseek_runtime.transport.traffic import Context, Socket, Traffic
from deepseek_runtime.transport.wire import Kind

_EVENT: Final = struct.Struct("=hi")
_UP: Final = zmq.EVENT_HANDSHAKE_SUCCEEDED
_DOWN: Final = zmq.EVENT_DISCONNECTED
_FAILED: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)
AGAIN: Final = 0.02
"""Seconds until something that ZeroMQ would not take is tried again."""
_PATIENCE: Final = (2.0, 30.0)
"""Seconds without an answer after which a greeting is repeated: at first, at most."""
_REGREET: Final = 0.05
"""Seconds before a connection that broke, or that the peer has forgotten, is begun anew."""


class Dialled:
    """Raises zmq.ZMQError when the address is none. name: what this connection is called (wire.lane_name); ping:
    seconds of silence after which this side says something."""

    def __init__(
        self,
        context: Context,
        socket: Socket,
        name: str,
        peer: str,
        address: str,
        link: Link,
        traffic: Traffic,
        ping: float,
    ) -> None:
        self.name = name
        self.peer = peer
        self.address = address
        self.link = link
        self.socket = socket
        self._traffic = traffic
        self._ping = ping
        self._greeting = 0
        self._greet_at = math.inf
        self._ping_at = math.inf
        self._patience = _PATIENCE[0]
        self._blocked = False
        monitor = f"inproc://dialled-{secrets.token_hex(8)}"
        socket.monitor(monitor, _UP | _DOWN | _FAILED)
        self.monitor = context.socket(zmq.PAIR)
        self.monitor.linger = 0
        self.monitor.connect(monitor)
        try:
            socket.connect(address)
        except zmq.ZMQError:
            self.close(0)
            raise

    def watch(self, now: float) -> None:
        """Reads the monitor: up means greet, down means that the connection is gone."""
        while True:
            try:
                parts = self.monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            event, _ = _EVENT.unpack(parts[0])
            if event & _FAILED:
                self._traffic.refuse("handshake")
            elif event & _UP:
                self._greet_at, self._patience = now, _PATIENCE[0]
            elif event & _DOWN:
                self._lose(math.inf)

    def _lose(self, greet_at: float) -> None:
        self.link.shut()
        self._greeting = 0
        self._greet_at = greet_at
        self._ping_at = math.inf

    def due(self) -> float:
        """When `tick` or `step` has something to do (monotonic seconds); infinity: never."""
        return 0.0 if self._blocked else min(self._greet_at, self._ping_at)

    @property
    def blocked(self) -> bool:
        """Whether ZeroMQ would not take a frame; to be tried again after AGAIN seconds."""
        return self._blocked

    def tick(self, now: float) -> None:
        """Greets or gives a sign of life, if it is time."""
        if now >= self._greet_at:
            self.link.shut()
            self._greeting = secrets.randbits(62) + 1
            hello = wire.pack_greeting(Kind.HELLO, self._greeting, self.name, self._traffic.own)
            if self._put([hello], now):
                self._greet_at = now + self._patience
                self._patience = min(2 * self._patience, _PATIENCE[1])
            else:
                self._greet_at = now + AGAIN
        elif now >= self._ping_at:
            self._ping_at = now + self._ping
            self._put([wire.pack_word(Kind.PING, self.link.connection)], now)

    def _put(self, parts: list[bytes | memoryview], now: float) -> bool:
        taken = self._traffic.put(self.socket, parts)
        if taken and self.link.connection:
            self._ping_at = now + self._ping
        return taken

    def step(self, now: float) -> bool:
        """Sends the next frame of the link; whether one went."""
        self._blocked = False
        parts = self.link.next()
        if parts is None:
            return False
        if not self._put(parts, now):
            self._blocked = True
            return False
        self.link.sent()
        return True

    def take(self, frames: list[zmq.Frame], now: float) -> None:
        """One ZeroMQ message from the peer."""
        frame = self._traffic.read(frames)
        if frame is None:
            return
        current = self._greeting and frame.connection == self._greeting
        if not current or (frame.kind in (Kind.DATA, Kind.CREDIT) and not self.link.connection):
            self._traffic.refuse("stale")
        elif frame.kind is Kind.WELCOME and not self.link.connection and frame.terms is not None:
            if frame.identity != self.peer:
                self._traffic.refuse("identity")  # somebody else's, at an address that was used before
                return
            self.link.open(self._greeting, frame.terms)
            self._greet_at, self._patience = math.inf, _PATIENCE[0]
            self._ping_at = now + self._ping
        elif frame.kind in (Kind.DATA, Kind.CREDIT):
            if not self._traffic.deliver(self.peer, self.link, frame):
                self._lose(now + _REGREET)
            elif (renewal := self.link.renewal()) is not None:
                self._put([renewal], now)
        elif frame.kind is Kind.RESET:
            self._traffic.refuse(f"reset by peer: {frame.reason}")
            self._lose(now + (_REGREET if self.link.connection else self._patience))
        elif frame.kind is Kind.BYE:
            self._lose(now + self._patience)
        else:
            self._traffic.refuse("frame")

    def farewell(self) -> None:
        """Tells the peer that this side leaves."""
        if self.link.connection:
            self._traffic.put(self.socket, [wire.pack_word(Kind.BYE, self.link.connection)])

    def close(self, linger: float) -> None:
        """Frees the sockets; what ZeroMQ holds is sent for at most `linger` seconds."""
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(int(linger * 1000))
