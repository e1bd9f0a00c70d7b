"""The peers that dial us: one ROUTER, and a link for each that has greeted properly."""

from typing import Final

import zmq

from deepseek_runtime.transport import wire
from deepseek_runtime.transport.curve import Gate
from deepseek_runtime.transport.link import Link
from deepseek_runtime.transport.traffic import Socket, Traffic, Unreachable
from deepseek_runtime.transport.wire import Frame, Kind, WireError

_LOOK: Final = 1.0
"""Seconds between two looks for peers that have fallen silent."""


class _Visitor:
    """One connection of a peer. name: wire.lane_name."""

    __slots__ = ("heard", "link", "name", "peer")

    def __init__(self, name: str, peer: str, link: Link, now: float) -> None:
        self.name = name
        self.peer = peer
        self.link = link
        self.heard = now


class Visitors:
    """most: connections at a time; patience: seconds of silence after which one is forgotten, with what waits for it.

    A stranger holds nothing: no link exists before a valid HELLO, and a HELLO beyond `most` is refused.
    """

    def __init__(self, router: Socket, gate: Gate | None, traffic: Traffic, most: int, patience: float) -> None:
        self.router = router
        self.gate = gate
        self._traffic = traffic
        self._most = most
        self._patience = patience
        self._visitors: dict[str, _Visitor] = {}
        self._blocked = False
        self._look_at = 0.0

    def link(self, name: str) -> Link | None:
        visitor = self._visitors.get(name)
        return None if visitor is None else visitor.link

    def lanes(self, peer: str) -> dict[str, Link]:
        """The connections of a peer, by name, the first at the front."""
        names = (wire.lane_name(peer, lane) for lane in range(wire.MAX_LANES))
        return {name: self._visitors[name].link for name in names if name in self._visitors}

    def links(self) -> dict[str, Link]:
        return {peer: visitor.link for peer, visitor in self._visitors.items()}

    @property
    def blocked(self) -> bool:
        """Whether ZeroMQ would not take a frame for somebody; to be tried again."""
        return self._blocked

    def step(self) -> bool:
        """Sends the next frame of each link; whether any went."""
        self._blocked = False
        went = False
        for peer, visitor in self._visitors.items():
            went = self.step_one(peer, visitor.link) or went
        return went

    def step_one(self, peer: str, link: Link) -> bool:
        parts = link.next()
        if parts is None:
            return False
        try:
            taken = self._traffic.put(self.router, parts, peer)
        except Unreachable:
            link.shut()  # what waits is sent when the peer has greeted again
            return False
        if not taken:
            self._blocked = True
            return False
        link.sent()
        return True

    def take(self, frames: list[zmq.Frame], now: float) -> None:
        """One ZeroMQ message: the sender's routing id, then a frame."""
        sender = frames[0].bytes
        frame = self._traffic.read(frames[1:])
        if frame is None:
            return
        try:
            peer = sender.decode("ascii")
            member, identity = wire.check_lane(peer)
        except (UnicodeDecodeError, WireError):
            self._traffic.refuse("identity")
            return
        if frame.kind is Kind.HELLO:
            if frame.identity != peer:
                self._traffic.refuse("identity")
            elif self.gate is not None and frames[1].get("User-Id") != member.role:
                self._traffic.refuse("role")
            else:
                self._greet(peer, identity, frame, now)
            return
        visitor = self._visitors.get(peer)
        if visitor is None or visitor.link.connection != frame.connection:
            self._traffic.refuse("stale")
            if frame.kind is not Kind.RESET:
                self._answer(peer, wire.pack_word(Kind.RESET, frame.connection, "unknown"))
            return
        visitor.heard = now
        self._from(peer, visitor, frame)

    def _greet(self, peer: str, identity: str, frame: Frame, now: float) -> None:
        visitor = self._visitors.get(peer)
        if visitor is None:
            if len(self._visitors) >= self._most:
                self._traffic.refuse("peers")
                self._answer(peer, wire.pack_word(Kind.RESET, frame.connection, "peers"))
                return
            visitor = self._visitors[peer] = _Visitor(peer, identity, self._traffic.link(), now)
        if frame.terms is None:
            return
        visitor.heard = now
        visitor.link.open(frame.connection, frame.terms)
        own = self._traffic
        self._answer(peer, wire.pack_greeting(Kind.WELCOME, frame.connection, own.identity, own.own))

    def _from(self, peer: str, visitor: _Visitor, frame: Frame) -> None:
        if frame.kind in (Kind.DATA, Kind.CREDIT):
            if not self._traffic.deliver(visitor.peer, visitor.link, frame):
                visitor.link.shut()
                self._answer(peer, wire.pack_word(Kind.RESET, frame.connection, "broken"))
            elif (renewal := visitor.link.renewal()) is not None:
                self._answer(peer, renewal)
        elif frame.kind is Kind.RESET:
            visitor.link.shut()
        elif frame.kind is Kind.BYE:
            del self._visitors[peer]
        elif frame.kind is not Kind.PING:
            self._traffic.refuse("frame")

    def _answer(self, peer: str, frame: bytes) -> None:
        """Frames outside the credits. One that is not taken is lost: the peer notices by the silence or the count."""
        try:
            if not self._traffic.put(self.router, [frame], peer):
                self._traffic.refuse("not taken")
        except Unreachable:
            visitor = self._visitors.get(peer)
            if visitor is not None:
                visitor.link.shut()

    def forget(self, now: float) -> None:
        """Drops who has been silent too long. Only to be called when all that arrived has been read."""
        if now < self._look_at:
            return
        self._look_at = now + _LOOK
        for peer in [peer for peer, one in self._visitors.items() if now - one.heard > self._patience]:
            self._traffic.refuse("silent")
            del self._visitors[peer]

    def farewell(self, peer: str) -> None:
        """Tells the peer that this side leaves, and drops what waits for it."""
        for name, link in self.lanes(peer).items():
            del self._visitors[name]
            if link.connection:
                self._answer(name, wire.pack_word(Kind.BYE, link.connection))

    def close(self, linger: float) -> None:
        self.router.close(int(linger * 1000))
        if self.gate is not None:
            self.gate.socket.close(0)
