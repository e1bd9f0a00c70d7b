"""Frames and heads: the golden bytes, and what is refused."""

import random
import struct
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from deepseek_runtime.transport import wire
from deepseek_runtime.transport.wire import Flag, Kind, Limits, Message, Terms, WireError

GOLDEN = Path(__file__).parent / "golden"
LIMITS = Limits()
CONNECTION = 0x0123456789ABCDEF
MESSAGE = Message("push", {"g": 7, "weight": 0.5, "spans": [1, 2], "id": b"\0\1"}, (b"abc", b"", b"defg"))
TERMS = Terms(4 << 20, 4, 256)

FRAMES: dict[str, list[bytes]] = {
    "hello": [wire.pack_greeting(Kind.HELLO, CONNECTION, "worker-3-1", TERMS)],
    "welcome": [wire.pack_greeting(Kind.WELCOME, CONNECTION, "server-0-2", TERMS)],
    "data": [
        wire.pack_data(CONNECTION, 5, Flag.FIRST | Flag.LAST | Flag.EXPRESS),
        wire.encode(MESSAGE, LIMITS).head,
        b"abcdefg",
    ],
    "credit": [wire.pack_credit(CONNECTION, 12, 300)],
    "ping": [wire.pack_word(Kind.PING, CONNECTION)],
    "reset": [wire.pack_word(Kind.RESET, CONNECTION, "unknown")],
    "bye": [wire.pack_word(Kind.BYE, CONNECTION)],
}


def views(parts: list[bytes]) -> list[memoryview]:
    return [memoryview(part) for part in parts]


@pytest.mark.parametrize("name", FRAMES)
def test_frames_have_the_golden_bytes(name: str) -> None:
    golden = [bytes.fromhex(line) for line in (GOLDEN / f"{name}.hex").read_text().splitlines()]
    assert FRAMES[name] == golden


def test_golden_greetings_are_read() -> None:
    frame = wire.unpack(views(FRAMES["hello"]))
    assert (frame.kind, frame.connection, frame.identity, frame.terms) == (Kind.HELLO, CONNECTION, "worker-3-1", TERMS)


def test_golden_data_is_read() -> None:
    frame = wire.unpack(views(FRAMES["data"]))
    assert (frame.sequence, frame.flags) == (5, Flag.FIRST | Flag.LAST | Flag.EXPRESS)
    head = wire.decode_head(frame.parts[0], LIMITS)
    assert (head.kind, head.fields, head.lengths) == (MESSAGE.kind, MESSAGE.fields, (3, 0, 4))


def test_golden_words_are_read() -> None:
    assert wire.unpack(views(FRAMES["credit"])).chunks == 12
    assert wire.unpack(views(FRAMES["credit"])).expresses == 300
    assert wire.unpack(views(FRAMES["reset"])).reason == "unknown"
    assert wire.unpack(views(FRAMES["ping"])).kind is Kind.PING


def test_unknown_keys_of_a_greeting_are_ignored() -> None:
    body = {"protocol": 1, "identity": "worker-0-0", "chunk": 1, "window": 1, "express": 1, "later": [1]}
    frame = wire.unpack(views([prefix(Kind.HELLO) + msgpack.packb(body)]))
    assert frame.identity == "worker-0-0"


def prefix(kind: int, version: int = wire.FRAME_VERSION, magic: bytes = wire.MAGIC) -> bytes:
    return wire.PREFIX.pack(magic, version, kind, CONNECTION)


def greeting(**changes: Any) -> bytes:
    body = {"protocol": 1, "identity": "worker-0-0", "chunk": 1, "window": 1, "express": 1} | changes
    packed: bytes = msgpack.packb(body)
    return prefix(Kind.HELLO) + packed


@pytest.mark.parametrize(
    "parts, reason",
    [
        pytest.param([], "frame", id="nothing"),
        pytest.param([b""], "frame", id="empty"),
        pytest.param([prefix(Kind.PING)[:-1]], "frame", id="short"),
        pytest.param([prefix(Kind.PING, magic=b"XX")], "frame", id="not ours"),
        pytest.param([prefix(Kind.PING, version=9)], "version", id="frame version"),
        pytest.param([prefix(99)], "frame", id="type"),
        pytest.param([prefix(Kind.PING) + b"x"], "frame", id="ping with a body"),
        pytest.param([prefix(Kind.PING), b""], "frame", id="two parts"),
        pytest.param([prefix(Kind.CREDIT) + b"x" * 15], "frame", id="short credit"),
        pytest.param([prefix(Kind.DATA) + b"x" * 8], "frame", id="short data"),
        pytest.param([prefix(Kind.DATA) + struct.pack("!QB", 0, 8)], "frame", id="unknown flag"),
        pytest.param([prefix(Kind.DATA) + struct.pack("!QB", 0, 4)], "frame", id="express in pieces"),
        pytest.param([prefix(Kind.DATA) + struct.pack("!QB", 0, 1)], "frame", id="no head"),
        pytest.param([prefix(Kind.RESET) + b"x" * 65], "frame", id="long reason"),
        pytest.param([prefix(Kind.RESET) + b"\xff"], "frame", id="reason not ascii"),
        pytest.param([prefix(Kind.HELLO) + b"\xc1"], "frame", id="no msgpack"),
        pytest.param([greeting(later="x" * 2000)], "frame", id="long hello"),
        pytest.param([greeting(protocol=2)], "version", id="protocol version"),
        pytest.param([greeting(window=0)], "frame", id="no window"),
        pytest.param([greeting(chunk=-1)], "frame", id="negative chunk"),
        pytest.param([greeting(window="1")], "frame", id="window is text"),
        pytest.param([greeting(identity="eve")], "identity", id="identity"),
        pytest.param([greeting(identity="worker-00-1")], "identity", id="identity spelt otherwise"),
        pytest.param([greeting(identity="worker-1-" + "1" * 99)], "identity", id="long identity"),
    ],
)
def test_malformed_frames_are_refused(parts: list[bytes], reason: str) -> None:
    with pytest.raises(WireError) as caught:
        wire.unpack(views(parts))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "head, reason",
    [
        pytest.param([2, "x", {}, []], "version", id="version"),
        pytest.param([1, "x", {}], "head", id="three"),
        pytest.param([1, "", {}, []], "head", id="no kind"),
        pytest.param([1, "x" * 65, {}, []], "head", id="long kind"),
        pytest.param([1, "x", [], []], "head", id="fields are a list"),
        pytest.param([1, "x", {1: 2}, []], "head", id="a field's name is a number"),
        pytest.param([1, "x", {}, [-1]], "head", id="negative length"),
        pytest.param([1, "x", {}, [True]], "head", id="length is a truth value"),
        pytest.param([1, "x", {}, [1.0]], "head", id="length is a fraction"),
        pytest.param([1, "x", {}, [5 << 30]], "size", id="large"),
        pytest.param([1, "x", {}, [0] * 70000], "size", id="many buffers"),
        pytest.param([1, "x", {"e": msgpack.ExtType(3, b"x")}, []], "head", id="extension"),
        pytest.param([1, "x", {"t": "y" * (1 << 20)}, []], "size", id="large head"),
        pytest.param(7, "head", id="a number"),
    ],
)
def test_malformed_heads_are_refused(head: Any, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        wire.decode_head(msgpack.packb(head), LIMITS)
    assert caught.value.reason == reason


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(WireError):
        wire.decode_head(b"\x94\x01\xa1x\x81\xa1y" + b"\x91" * 100_000 + b"\x90", LIMITS)


def test_mutated_bytes_raise_nothing_but_wire_errors() -> None:
    source = random.Random(1)
    refused = 0
    for _ in range(3000):
        parts = [bytearray(part) for part in source.choice(list(FRAMES.values()))]
        part = source.choice(parts)
        for _ in range(source.randint(1, 4)):
            part[source.randrange(len(part))] = source.randrange(256)
        if source.random() < 0.3:
            del part[source.randrange(len(part)) :]
        try:
            frame = wire.unpack([memoryview(bytes(part)) for part in parts])
            if frame.kind is Kind.DATA and Flag.FIRST in frame.flags:
                wire.decode_head(frame.parts[0], LIMITS)
        except WireError:
            refused += 1
    assert refused > 1000


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(Message(""), id="no kind"),
        pytest.param(Message("x", {"a": object()}), id="an object"),
        pytest.param(Message("x", {"a": 1 << 70}), id="a huge number"),
        pytest.param(Message("x", {"a": "y" * (2 << 20)}), id="a large head"),
        pytest.param(Message("x", {}, (np.zeros((4, 4))[:, 1],)), id="not contiguous"),
    ],
)
def test_what_cannot_be_a_message_is_an_error_of_the_sender(message: Message) -> None:
    with pytest.raises(WireError):
        wire.encode(message, LIMITS)


def test_writable_buffers_are_copied_and_read_only_ones_held() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    encoded = wire.encode(Message("x", {}, (array.data, array.data.toreadonly())), LIMITS)
    before = array.tobytes()
    array[:] = 0
    assert encoded.views[0] == before
    assert encoded.views[1] == bytes(24)


def test_empty_and_scalar_arrays_are_buffers() -> None:
    encoded = wire.encode(
        Message("x", {}, (np.zeros((0, 3)).data, memoryview(np.float64(2).tobytes()), np.zeros(()).data)), LIMITS
    )
    assert [view.nbytes for view in encoded.views] == [0, 8, 8]
