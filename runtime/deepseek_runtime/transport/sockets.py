"""The post: sends and receives a member's messages.

A server listens (one ROUTER), workers and servers dial (a DEALER a peer). All work is done inside `send` and
`receive`, in the caller's thread; ZeroMQ's own thread moves the bytes. Nothing blocks but `receive`, and no peer that
is slow, stopped or hostile keeps another waiting or takes memory beyond its share: frames under way by credits, one
long message being put together, and its queue of unsent messages.
"""

import math
import os
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Final, Self

import zmq

from deepseek_runtime.transport import wire
from deepseek_runtime.transport.chunks import Memory
from deepseek_runtime.transport.curve import ZAP_DOMAIN, Gate, Keys
from deepseek_runtime.transport.dialled import AGAIN, Dialled
from deepseek_runtime.transport.link import EXPRESS, Link
from deepseek_runtime.transport.traffic import Context, Socket, Traffic
from deepseek_runtime.transport.visitors import Visitors
from deepseek_runtime.transport.wire import Limits, Message, Terms

MIB: Final = 1 << 20
_REUSE: Final = 512 * MIB
"""Bytes of memory for long buffers that are kept to be used again."""
_EXPRESS_WINDOW: Final = 256
"""Express messages of one peer under way to us."""
_LONGEST_WAIT: Final = 1.0
"""Seconds between two looks at what is due."""


class Post:
    """One a member; all methods from one thread, but `wake`.

    identity: role-index-incarnation; keys: None is plain TCP, for benchmarks and tests. chunk: bytes of buffers in a
    frame; window: chunks of one peer under way to us; max_message: bytes, both ways; max_peers: peers that may dial
    us; queue: messages that wait for one peer in each lane; silence: seconds without a sign of life after which a
    connection is given up (twice that: after which a peer that dialled us is forgotten, with what waits for it).

    lanes: connections with each peer that we dial; threads: ZeroMQ's own, which move the bytes and do the encryption, a
    connection by one thread: with keys this is most of the work, and one thread is slower than the wire.

    A message that is wholly sent when its connection breaks is lost; none arrives twice or in pieces. Messages up to
    64 KiB overtake longer ones; else order is kept while a connection lasts, with several lanes not among long ones.
    """

    def __init__(
        self,
        identity: str,
        keys: Keys | None,
        *,
        chunk: int = MIB,
        window: int = 8,
        max_message: int = 4096 * MIB,
        max_peers: int = 1024,
        queue: int = 256,
        silence: float = 15.0,
        lanes: int = 1,
        threads: int = 1,
    ) -> None:
        wire.check_identity(identity)
        self.identity = identity
        self._keys = keys
        self._max_peers = max_peers
        self._silence = silence
        self._lanes = range(min(max(lanes, 1), wire.MAX_LANES))
        own = Terms(chunk, window, _EXPRESS_WINDOW)
        self._traffic = Traffic(identity, own, Limits(message=max_message), queue, Memory(_REUSE), keys is not None)
        self._context: Context = zmq.Context(io_threads=max(threads, 1))
        self._poller = zmq.Poller()
        self._visitors: Visitors | None = None
        self._dialled: dict[str, Dialled] = {}
        """By wire.lane_name of the peer."""
        self._closed = False
        self._wake_lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._poller.register(self._wake_read, zmq.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def bytes_sent(self) -> int:
        """Payload and headers handed to ZeroMQ, with what ZMTP and CURVE add to each part."""
        return self._traffic.bytes_sent

    @property
    def bytes_received(self) -> int:
        return self._traffic.bytes_received

    @property
    def refused(self) -> Counter[str]:
        """What was not taken, by reason (docs/formats/frames.md lists them)."""
        return self._traffic.refused

    def listen(self, address: str) -> str:
        """Binds; the real address, with the port that was taken for port 0. Raises OSError, ValueError."""
        if self._visitors is not None:
            raise ValueError(f"{self.identity} listens already")
        if self._keys is not None and self._keys.role != "server":
            raise ValueError("only a server's keys can listen")
        router = self._socket(zmq.ROUTER)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.setsockopt(zmq.ROUTER_HANDOVER, 1)
        router.setsockopt(zmq.BACKLOG, 512)
        gate: Gate | None = None
        if self._keys is not None:
            gate = Gate(self._context, self._keys, self._traffic.refuse)
            router.setsockopt(zmq.CURVE_SERVER, 1)
            router.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
        visitors = Visitors(router, gate, self._traffic, self._max_peers, 2 * self._silence)
        try:
            router.bind(address)
        except zmq.ZMQError as error:
            visitors.close(0)
            raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from error
        self._visitors = visitors
        self._poller.register(router, zmq.POLLIN)
        if gate is not None:
            self._poller.register(gate.socket, zmq.POLLIN)
        return router.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")

    def dial(self, peer: str, address: str) -> None:
        """Connects to a listening member, again and again until `hang_up`; another address replaces the older one.

        What waits for the peer is kept. Raises ValueError for an address that is none.
        """
        wire.check_identity(peer)
        for lane in self._lanes:
            self._dial(peer, lane, address)

    def _dial(self, peer: str, lane: int, address: str) -> None:
        key, name = wire.lane_name(peer, lane), wire.lane_name(self.identity, lane)
        known = self._dialled.get(key)
        if known is not None and known.address == address:
            return
        socket = self._socket(zmq.DEALER)
        socket.setsockopt(zmq.ROUTING_ID, name.encode())
        socket.setsockopt(zmq.IMMEDIATE, 1)  # what ZeroMQ holds for a lost connection dies with it
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        socket.setsockopt(zmq.CONNECT_TIMEOUT, 5000)
        # Only who dials asks for signs of life, also for its peer: libzmq 4.3.5 ends its process when the timer for one
        # finds that the peer has gone while more had come than may wait (stream_engine_base.cpp, out_event).
        socket.setsockopt(zmq.HEARTBEAT_IVL, int(self._silence * 200))
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(self._silence * 1000))
        socket.setsockopt(zmq.HEARTBEAT_TTL, int(self._silence * 1000))
        if self._keys is not None:
            socket.setsockopt(zmq.CURVE_SERVERKEY, self._keys.server_public)
        link = self._traffic.link() if known is None else known.link
        try:
            dialled = Dialled(self._context, socket, name, peer, address, link, self._traffic, self._silence / 10)
        except zmq.ZMQError as error:
            raise ValueError(f"cannot dial {address}: {error.strerror}") from error
        if known is not None:
            self._drop(known)
        link.shut()
        self._dialled[key] = dialled
        self._poller.register(dialled.socket, zmq.POLLIN)
        self._poller.register(dialled.monitor, zmq.POLLIN)

    def _socket(self, kind: int) -> Socket:
        socket = self._context.socket(kind)
        own = self._traffic.own
        most = 2 * (own.window + own.express) + 64  # never reached by a peer that keeps to its credits
        socket.setsockopt(zmq.SNDHWM, most)
        socket.setsockopt(zmq.RCVHWM, most)
        socket.setsockopt(zmq.MAXMSGSIZE, max(own.chunk, self._traffic.limits.head, EXPRESS) + 1024)  # CURVE adds a few
        socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        socket.setsockopt(zmq.LINGER, 0)
        if self._keys is not None:
            socket.setsockopt(zmq.CURVE_PUBLICKEY, self._keys.public)
            socket.setsockopt(zmq.CURVE_SECRETKEY, self._keys.secret)
        return socket

    def hang_up(self, peer: str) -> None:
        """Ends the connection, and drops what waits. A peer that dialled us may come back."""
        for lane in self._lanes:
            dialled = self._dialled.pop(wire.lane_name(peer, lane), None)
            if dialled is not None:
                self._drop(dialled)
        if self._visitors is not None:
            self._visitors.farewell(peer)

    def _drop(self, dialled: Dialled) -> None:
        self._poller.unregister(dialled.socket)
        self._poller.unregister(dialled.monitor)
        dialled.farewell()
        dialled.close(0.2)

    def peers(self) -> set[str]:
        """Who is connected at this moment, as far as `receive` has seen."""
        return {name for name, link in self._links() if link.connection and "/" not in name}

    def _links(self) -> list[tuple[str, Link]]:
        visitors = [] if self._visitors is None else list(self._visitors.links().items())
        return [(peer, dialled.link) for peer, dialled in self._dialled.items()] + visitors

    def send(self, peer: str, message: Message) -> bool:
        """Queues a message, and sends what may be sent; never blocks.

        False: the peer was neither dialled nor has it dialled, or its queue is full. True promises nothing: callers
        repeat by protocol. Read-only buffers are held, not copied, until they are sent (`wire.encode`).
        Raises WireError for a message that cannot be one (too large, fields that msgpack cannot hold).
        """
        dialled = self._dialled.get(peer)
        visitor = None if self._visitors is None else self._visitors.link(peer)
        if dialled is not None and (dialled.link.connection or visitor is None or not visitor.connection):
            encoded = wire.encode(message, self._traffic.limits)
            ours = [
                self._dialled[name] for lane in self._lanes if (name := wire.lane_name(peer, lane)) in self._dialled
            ]
            dialled = ours[_freest([one.link for one in ours], encoded.size)]
            if not dialled.link.offer(encoded):
                return False
            while dialled.step(time.monotonic()):
                pass
            return True
        if visitor is None or self._visitors is None:
            return False
        encoded = wire.encode(message, self._traffic.limits)
        theirs = list(self._visitors.lanes(peer).items())
        name, visitor = theirs[_freest([link for _, link in theirs], encoded.size)]
        if not visitor.offer(encoded):
            return False
        while self._visitors.step_one(name, visitor):
            pass
        return True

    def receive(self, timeout: float) -> list[tuple[str, Message]]:
        """Complete messages, each with its sender; [] after `timeout` seconds or `wake`. Sends meanwhile.

        Must be called again and again, also by members that only send: credits, greetings and signs of life are its
        work. Buffers are read-only views, aligned; a view of one keeps all of its message's memory alive.
        """
        deadline = time.monotonic() + timeout
        while True:
            woken = self._round(deadline)
            if self._traffic.inbox or woken or time.monotonic() >= deadline:
                self._pump()
                messages, self._traffic.inbox = self._traffic.inbox, []
                return messages

    def wake(self) -> None:
        """Makes the present or the next `receive` return. From any thread, also after `close`."""
        with self._wake_lock:
            if not self._closed:
                try:
                    os.write(self._wake_write, b"\0")
                except BlockingIOError:
                    return  # it is being woken already

    def _round(self, deadline: float) -> bool:
        """Sends what may be sent, waits until `deadline` at most, reads what came. Whether `wake` was called."""
        if self._closed:
            raise ValueError(f"the post of {self.identity} is closed")
        self._pump()
        now = time.monotonic()
        wait = max(0.0, min(deadline, self._due(now)) - now)
        ready = {source for source, _ in self._poller.poll(math.ceil(wait * 1000))}
        now = time.monotonic()
        for dialled in self._dialled.values():
            if dialled.socket in ready:
                self._traffic.drain(dialled.socket, lambda frames, one=dialled: one.take(frames, now))  # type: ignore[misc]
            if dialled.monitor in ready:
                dialled.watch(now)
        visitors = self._visitors
        if visitors is not None:
            if visitors.gate is not None and visitors.gate.socket in ready:
                visitors.gate.answer()
            read = visitors.router not in ready
            if read or self._traffic.drain(visitors.router, lambda frames: visitors.take(frames, now)):
                visitors.forget(now)
        if self._wake_read in ready:
            os.read(self._wake_read, 65536)
            return True
        return False

    def _pump(self) -> None:
        """A frame for each peer in turn, as long as there is one that may be sent."""
        now = time.monotonic()
        for dialled in self._dialled.values():
            dialled.tick(now)
        busy = True
        while busy:
            busy = self._visitors is not None and self._visitors.step()
            for dialled in self._dialled.values():
                busy = dialled.step(now) or busy

    def _due(self, now: float) -> float:
        blocked = any(dialled.blocked for dialled in self._dialled.values())
        if blocked or (self._visitors is not None and self._visitors.blocked):
            return now + AGAIN
        return min([now + _LONGEST_WAIT, *(dialled.due() for dialled in self._dialled.values())])

    def close(self, linger: float = 1.0) -> None:
        """Sends what waits for at most `linger` seconds, says goodbye, frees everything. May be called twice."""
        if self._closed:
            return
        deadline = time.monotonic() + linger
        while any(link.connection and link.waiting for _, link in self._links()) and time.monotonic() < deadline:
            self._round(deadline)
            self._traffic.inbox.clear()
        left = max(0.0, deadline - time.monotonic())
        for dialled in self._dialled.values():
            dialled.farewell()
            dialled.close(left)
        if self._visitors is not None:
            for peer in {wire.check_lane(name)[1] for name in self._visitors.links()}:
                self._visitors.farewell(peer)
            self._visitors.close(left)
        self._context.term()
        with self._wake_lock:
            self._closed = True
            os.close(self._wake_read)
            os.close(self._wake_write)


def _freest(lanes: list[Link], size: int) -> int:
    """Which lane a message of `size` bytes takes: short ones always the first, so that their order is kept."""
    if size <= EXPRESS or len(lanes) == 1:
        return 0
    open_lanes = [index for index, link in enumerate(lanes) if link.connection]
    return min(open_lanes or [0], key=lambda index: lanes[index].backlog)
