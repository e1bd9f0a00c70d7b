"""A peer that says what no member would: frames of real messages, mutated, and others made from the grammar."""

import random
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import zmq

from deepseek_runtime.compression import codec_for
from deepseek_runtime.contract.config import Compression
from deepseek_runtime.contract.records import ServerSeat, TermRecord
from deepseek_runtime.protocol import encoding
from deepseek_runtime.protocol.applied import AppliedSet
from deepseek_runtime.protocol.messages import (
    Beat,
    Hello,
    InitialPart,
    Lease,
    Message,
    NewTerm,
    Pull,
    Push,
    Report,
    Version,
)
from deepseek_runtime.protocol.server_orders import Admit, AppliedReport, Done, Drop, Order, Save, Skip, SpanState
from deepseek_runtime.space import Space
from deepseek_runtime.transport import Keys, wire
from deepseek_runtime.transport.chunks import Memory
from deepseek_runtime.transport.link import Link
from deepseek_runtime.transport.wire import Flag, Kind, Limits, Terms

TERMS = Terms(64 << 10, 64, 256)
_ODD = (0, 1, -1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 0.5, float("nan"), float("inf"), -1e308, "", "x", b"", None, True)


class Hostile:
    """One connection after another, as `identity`, with a worker's keys or none. `act` does one thing; never blocks."""

    def __init__(self, address: str, identity: str, space: Space, seed: int, keys: Keys | None = None) -> None:
        self.random = random.Random(seed)
        self.said = 0
        self._address = address
        self._identity = identity
        self._space = space
        self._keys = keys
        self._codecs = [codec_for(span.runs, Compression(method="none")) for span in space.spans]
        self._old: list[list[bytes]] = []
        self._sequence = 0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._dial()

    def _dial(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.ROUTING_ID, self._identity.encode())
        if self._keys is not None:
            socket.setsockopt(zmq.CURVE_SERVERKEY, self._keys.server_public)
            socket.setsockopt(zmq.CURVE_PUBLICKEY, self._keys.public)
            socket.setsockopt(zmq.CURVE_SECRETKEY, self._keys.secret)
        socket.connect(self._address)
        return socket

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def act(self) -> None:
        """A connection begun, then a few messages of which most are mutated somewhere; or something that is none."""
        draw = self.random
        if draw.random() < 0.002:
            self._say([self._prefix(Flag.FIRST, 0), draw.randbytes(3 << 20)])  # larger than any part may be
        if draw.random() < 0.02:
            self._socket.close()
            self._socket = self._dial()
        self._connection = draw.randrange(1, 1 << 62)
        self._sequence = 0
        self._say([wire.pack_greeting(Kind.HELLO, self._connection, self._identity, TERMS)])
        for _ in range(draw.randrange(1, 5)):
            draw.choice((self._recorded, self._recorded, self._recorded, self._grammar, self._replay))()
        while self._socket.poll(0):
            self._socket.recv_multipart()

    def _say(self, parts: list[bytes]) -> None:
        if not parts:
            return
        try:
            self._socket.send_multipart(parts, zmq.NOBLOCK)
        except zmq.Again:
            return
        self.said += 1
        if self.random.random() < 0.05:
            self._old.append(parts)
            del self._old[:-200]

    def _prefix(self, flags: Flag, sequence: int) -> bytes:
        return wire.pack_data(self._connection, sequence, flags)

    # --- recorded

    def _recorded(self) -> None:
        """The frames in which a member would send this message; one of them mutated, or what they carry."""
        draw = self.random
        link = Link(TERMS, Limits(), 8, Memory(0))
        link.open(self._connection, TERMS)
        link._sequence = self._sequence
        message = encoding.encode(self._message())
        if draw.random() < 0.5:
            message.fields = self._mutated_fields(message.fields)
        try:
            link.offer(wire.encode(message, Limits()))
        except wire.WireError:
            return
        while (parts := link.next()) is not None:
            frame = [bytes(part) for part in parts]
            self._say(self._mutated(frame) if draw.random() < 0.3 else frame)
            link.sent()
            self._sequence += 1

    def _mutated(self, frame: list[bytes]) -> list[bytes]:
        draw = self.random
        parts = [bytearray(part) for part in frame]
        for _ in range(draw.randrange(1, 4)):
            if not parts:
                break
            at = draw.randrange(len(parts))
            part = parts[at]
            match draw.randrange(6):
                case 0 | 1:
                    if part:
                        part[draw.randrange(len(part))] = draw.randrange(256)
                case 2:
                    del part[draw.randrange(len(part) + 1) :]
                case 3:
                    part += draw.randbytes(draw.randrange(64))
                case 4:
                    parts.insert(at, bytearray(draw.randbytes(draw.randrange(64))))
                case 5:
                    del parts[at]
        return [bytes(part) for part in parts]

    def _mutated_fields(self, value: Any) -> Any:
        draw = self.random
        if draw.random() < 0.05:
            return draw.choice(_ODD)
        if isinstance(value, dict):
            return {key: self._mutated_fields(item) for key, item in value.items()}
        if isinstance(value, list) and value:
            made = [self._mutated_fields(item) for item in value]
            return made[: draw.randrange(len(made) + 1)] if draw.random() < 0.02 else made
        return value

    def _message(self) -> Message:
        return self.random.choice(_MESSAGES)(self)

    def _push(self) -> Message:
        draw = self.random
        spans = draw.sample(range(len(self._space.spans)), draw.randrange(1, 4))
        parts = {index: self._payload(index) for index in spans}
        g = draw.randrange(1 << 30, 1 << 31)
        lease = Lease(1, draw.randrange(1, 1 << 20), g, 0, 0.5) if draw.random() < 0.9 else None
        sequence, w = draw.randrange(1, 1 << 30), draw.choice((0.25, 0.5, 1.0, 1.0, 1e9, -1.0))
        return Push(self._term(), 1, sequence, lease, w, 8, parts, dict.fromkeys(spans, 0.0), dict.fromkeys(spans, 1.0))

    def _payload(self, index: int) -> bytes:
        values = np.full(self._codecs[index].size, self.random.choice((0.5, 1e-3, 1e3)), np.float32)
        payload = bytearray(self._codecs[index].encode_dense(values))
        if self.random.random() < 0.4:
            payload[self.random.randrange(len(payload))] = self.random.randrange(256)
        if self.random.random() < 0.1:
            del payload[self.random.randrange(len(payload)) :]
        return bytes(payload)

    def _term(self) -> int:
        return self.random.choice((1, 1, 1, 1, 0, 2))

    def _pull(self) -> Message:
        draw = self.random
        held = draw.choice((None, Version(1, 0), Version(9, 1 << 40)))
        spans = draw.sample(range(len(self._space.spans)), 2)
        return Pull(self._term(), 1, draw.randrange(100), dict.fromkeys(spans, held))

    def _report(self) -> Message:
        kind: Any = self.random.choice(("evaluated", "moments", "flushed", "leaving", "offer"))
        body = {"step": 1, "number": 1, "samples": 5, "space": self._space.to_json(), "tied": {}, "file": None}
        mutated = self._mutated_fields(body)
        return Report(1, f"k{self.random.randrange(9)}", kind, mutated if isinstance(mutated, dict) else {})

    # --- from the grammar

    def _grammar(self) -> None:
        """Frames of every type with fields drawn at random, right in form or almost."""
        draw = self.random
        kind = draw.choice(list(Kind))
        if kind in (Kind.HELLO, Kind.WELCOME):
            terms = Terms(draw.choice((1, 64 << 10, 1 << 39)), draw.choice((1, 8, 1 << 19)), 16)
            identity = draw.choice((self._identity, "worker-0-0", "server-0-0", self._identity + "/3", "x" * 300))
            self._say([wire.pack_greeting(kind, self._connection, identity, terms)])
        elif kind is Kind.DATA:
            name = draw.choice(("Push", "Pull", "Hello", "Nonsense", ""))
            head = msgpack.packb([draw.choice((1, 1, 0, 2)), name, self._tree(4), self._lengths()])
            flags = Flag(draw.randrange(8))
            self._say([self._prefix(flags, self._sequence), head, draw.randbytes(draw.randrange(2000))])
            self._sequence += 1
        elif kind is Kind.CREDIT:
            self._say([wire.pack_credit(self._connection, draw.randrange(1 << 40), draw.randrange(1 << 10))])
        else:
            self._say([wire.pack_word(kind, draw.choice((self._connection, 5)), "r" * draw.choice((0, 3, 64, 65)))])

    def _lengths(self) -> list[int]:
        return [self.random.choice((0, 4, 100, 2000, 1 << 31, 1 << 60)) for _ in range(self.random.randrange(4))]

    def _tree(self, depth: int) -> Any:
        draw = self.random
        shape = draw.randrange(4) if depth else 3
        if shape == 0:
            return [self._tree(depth - 1) for _ in range(draw.randrange(5))]
        if shape == 1:
            return {draw.choice(("v", "term", "x")): self._tree(depth - 1) for _ in range(draw.randrange(4))}
        if shape == 2:
            return {"v": [self._tree(depth - 1) for _ in range(draw.randrange(12))]}
        return draw.choice(_ODD)

    def _replay(self) -> None:
        """A frame from before, word for word."""
        if self._old:
            self._say(self.random.choice(self._old))


def _record() -> TermRecord:
    return TermRecord(number=7, servers=(ServerSeat(index=0, incarnation=0, address="tcp://127.0.0.1:1"),))


_MESSAGES: tuple[Callable[[Hostile], Message], ...] = (
    Hostile._push,
    Hostile._push,
    Hostile._push,
    Hostile._pull,
    Hostile._pull,
    Hostile._report,
    lambda one: Hello(one._term(), 1, 5, "f"),
    lambda one: Beat(one._term(), True, 3),
    lambda one: InitialPart(one._term(), 1, {0: np.zeros(8, np.float32)}),
    lambda one: NewTerm(_record()),
    lambda one: Order(1, one.random.randrange(9), one.random.choice((Admit(), Drop(), Save(3), Skip(5, (0, 1))))),
    lambda one: AppliedReport(1, 1, ((5, (0, 1)),)),
    lambda one: Done(1, 1, {0: SpanState(1, 1, AppliedSet(3), frozenset())}),
)
