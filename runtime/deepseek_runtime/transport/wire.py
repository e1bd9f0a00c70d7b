"""Frames: what stands on the wire between two members (docs/formats/frames.md).

Two layers, both strict when they read. A **message** is a head (msgpack: protocol version, kind, fields, lengths
of the buffers) and raw buffers. A **frame** is one ZeroMQ message of a link: a prefix of fixed layout, then what
its type needs. A message travels as one or more DATA frames.

Everything malformed raises WireError with a short reason, which the post counts; nothing else is ever raised for
bytes that came from outside.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any, Final, NoReturn, TypeAlias

import msgpack
import numpy as np
import numpy.typing as npt

from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.version import PROTOCOL_VERSION

Buffer: TypeAlias = bytes | bytearray | memoryview | npt.NDArray[Any]

MAGIC: Final = b"DS"
FRAME_VERSION: Final = 1
MAX_IDENTITY: Final = 64
MAX_LANES: Final = 8
MAX_HELLO: Final = 1024
MAX_REASON: Final = 64
MAX_KIND: Final = 64


class WireError(ValueError):
    """Bytes that are no frame or no message, or a message that cannot be one. `reason` is what is counted."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(slots=True)
class Message:
    """What members say to each other.

    fields: ints, floats, str, bytes, bool, None, lists and dicts with str or int keys; tuples arrive as lists.
    buffers: raw bytes; on sending anything contiguous, on receiving read-only memoryviews of bytes.
    """

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    buffers: tuple[Buffer, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest head (bytes), number of buffers, and message (head and buffers, bytes) that are read or written."""

    head: int = 1 << 20
    buffers: int = 1 << 16
    message: int = 4 << 30


@dataclass(frozen=True, slots=True)
class Encoded:
    """A message ready to be cut. views: read-only, one dimension of bytes; size: head and views, in bytes."""

    head: bytes
    views: tuple[memoryview, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Head:
    kind: str
    fields: dict[str, Any]
    lengths: tuple[int, ...]


def encode(message: Message, limits: Limits) -> Encoded:
    """The head and the views of a message. Raises WireError for one that no peer would read.

    Writable buffers are copied here, so their owner may go on changing them; read-only ones (bytes,
    `memoryview.toreadonly()`, an array after `setflags(write=False)`) are held and sent without a copy.
    """
    if not message.kind or len(message.kind) > MAX_KIND:
        raise WireError("head", f"a message's kind has 1 to {MAX_KIND} characters: {message.kind!r}")
    if len(message.buffers) > limits.buffers:
        raise WireError(
            "size", f"message {message.kind!r} has {len(message.buffers)} buffers, of {limits.buffers} at most"
        )
    views = tuple(_frozen(buffer, message.kind) for buffer in message.buffers)
    try:
        head: bytes = msgpack.packb([PROTOCOL_VERSION, message.kind, message.fields, [view.nbytes for view in views]])
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise WireError("head", f"message {message.kind!r} has fields that msgpack cannot hold: {error}") from error
    if len(head) > limits.head:
        raise WireError("size", f"the head of message {message.kind!r} has {len(head)} bytes, of {limits.head} at most")
    size = len(head) + sum(view.nbytes for view in views)
    if size > limits.message:
        raise WireError("size", f"message {message.kind!r} has {size} bytes, of {limits.message} at most")
    return Encoded(head, views, size)


def _frozen(buffer: Buffer, kind: str) -> memoryview:
    view = buffer.data if isinstance(buffer, np.ndarray) else memoryview(buffer)
    if not view.c_contiguous:
        raise WireError("head", f"message {kind!r} has a buffer that is not contiguous")
    if view.nbytes == 0:
        return memoryview(b"")
    if not view.readonly:
        return memoryview(view.tobytes())
    try:
        return view if view.ndim == 1 and view.format == "B" else view.cast("B")
    except TypeError:
        return memoryview(view.tobytes())


def decode_head(data: bytes | memoryview, limits: Limits) -> Head:
    """The inverse of what `encode` puts first. Raises WireError."""
    if memoryview(data).nbytes > limits.head:
        raise WireError("size", "head too large")
    match _unpack(data, "head"):
        case [int(version), *_] if version != PROTOCOL_VERSION:
            raise WireError("version", f"message of protocol {version}, this is {PROTOCOL_VERSION}")
        case [int(), str(kind), dict(fields), list(lengths)] if 0 < len(kind) <= MAX_KIND:
            pass
        case _:
            raise WireError("head", "not a head")
    if len(lengths) > limits.buffers:
        raise WireError("size", "too many buffers")
    if not all(type(length) is int and length >= 0 for length in lengths):
        raise WireError("head", "a buffer's length is no count")
    if memoryview(data).nbytes + sum(lengths) > limits.message:
        raise WireError("size", "message too large")
    if not all(isinstance(key, str) for key in fields):
        raise WireError("head", "a field's name is no text")
    return Head(kind, fields, tuple(lengths))


def _no_extension(code: int, data: bytes) -> NoReturn:
    raise WireError("head", f"msgpack extension {code}")


def _unpack(data: bytes | memoryview, reason: str) -> Any:
    try:
        return msgpack.unpackb(data, strict_map_key=False, ext_hook=_no_extension)
    except WireError:
        raise
    except (ValueError, TypeError, RecursionError, OverflowError) as error:  # msgpack's own errors are ValueErrors
        raise WireError(reason, f"not msgpack: {error}") from error


class Kind(IntEnum):
    """Types of frames."""

    HELLO = 1
    """dialler -> listener: begins a connection; anything of an older one is void."""
    WELCOME = 2
    """listener -> dialler: the connection is open."""
    DATA = 3
    CREDIT = 4
    PING = 5
    """dialler -> listener, when there is nothing else to say."""
    RESET = 6
    """Either: this connection is not, or no longer, open here; the dialler begins another."""
    BYE = 7
    """Either: this side leaves."""


class Flag(IntFlag):
    FIRST = 1
    LAST = 2
    EXPRESS = 4


_NO_FLAGS: Final = Flag(0)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a side is ready to receive: bytes of buffers a chunk, chunks and express messages under way at once."""

    chunk: int
    window: int
    express: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as read. connection: random number of 63 bits, chosen by the dialler at each HELLO.

    identity, terms: HELLO and WELCOME. sequence, flags, parts: DATA (parts: what follows the prefix; the first part
    of a FIRST frame is the head). chunks, expresses: CREDIT, totals since the connection opened. reason: RESET.
    """

    kind: Kind
    connection: int
    identity: str = ""
    terms: Terms | None = None
    sequence: int = 0
    flags: Flag = _NO_FLAGS
    parts: tuple[memoryview, ...] = ()
    chunks: int = 0
    expresses: int = 0
    reason: str = ""


_LANES: Final = frozenset(map(str, range(1, MAX_LANES)))
PREFIX: Final = struct.Struct("!2sBBQ")
_DATA: Final = struct.Struct("!QB")
_CREDIT: Final = struct.Struct("!QQ")
_ALL_FLAGS: Final = Flag.FIRST | Flag.LAST | Flag.EXPRESS


def pack_greeting(kind: Kind, connection: int, identity: str, terms: Terms) -> bytes:
    """A HELLO or a WELCOME."""
    body: bytes = msgpack.packb(
        {
            "protocol": PROTOCOL_VERSION,
            "identity": identity,
            "chunk": terms.chunk,
            "window": terms.window,
            "express": terms.express,
        }
    )
    return PREFIX.pack(MAGIC, FRAME_VERSION, kind, connection) + body


def pack_data(connection: int, sequence: int, flags: Flag) -> bytes:
    """The first part of a DATA frame."""
    return PREFIX.pack(MAGIC, FRAME_VERSION, Kind.DATA, connection) + _DATA.pack(sequence, flags)


def pack_credit(connection: int, chunks: int, expresses: int) -> bytes:
    return PREFIX.pack(MAGIC, FRAME_VERSION, Kind.CREDIT, connection) + _CREDIT.pack(chunks, expresses)


def pack_word(kind: Kind, connection: int, reason: str = "") -> bytes:
    """A PING, RESET or BYE; only a RESET has a reason (short, ASCII)."""
    return PREFIX.pack(MAGIC, FRAME_VERSION, kind, connection) + reason.encode("ascii")


def unpack(parts: Sequence[memoryview]) -> Frame:
    """Reads the parts of one ZeroMQ message. Raises WireError."""
    if not parts or parts[0].nbytes < PREFIX.size:
        raise WireError("frame", "too short")
    magic, version, number, connection = PREFIX.unpack_from(parts[0])
    if magic != MAGIC:
        raise WireError("frame", "not ours")
    if version != FRAME_VERSION:
        raise WireError("version", f"frame of version {version}, this is {FRAME_VERSION}")
    try:
        kind = Kind(number)
    except ValueError as error:
        raise WireError("frame", f"no frame has type {number}") from error
    rest = parts[0][PREFIX.size :]
    if kind is Kind.DATA:
        return _read_data(connection, rest, tuple(parts[1:]))
    if len(parts) != 1:
        raise WireError("frame", f"{kind.name} has one part")
    if kind in (Kind.HELLO, Kind.WELCOME):
        return _read_greeting(kind, connection, rest)
    if kind is Kind.CREDIT:
        if rest.nbytes != _CREDIT.size:
            raise WireError("frame", "CREDIT of a wrong size")
        chunks, expresses = _CREDIT.unpack(rest)
        return Frame(kind, connection, chunks=chunks, expresses=expresses)
    if kind is Kind.RESET:
        if rest.nbytes > MAX_REASON or not (text := rest.tobytes()).isascii():
            raise WireError("frame", "RESET with a bad reason")
        return Frame(kind, connection, reason=text.decode("ascii"))
    if rest.nbytes:
        raise WireError("frame", f"{kind.name} has no body")
    return Frame(kind, connection)


def _read_data(connection: int, rest: memoryview, parts: tuple[memoryview, ...]) -> Frame:
    if rest.nbytes != _DATA.size:
        raise WireError("frame", "DATA of a wrong size")
    sequence, number = _DATA.unpack(rest)
    if number & ~int(_ALL_FLAGS):
        raise WireError("frame", "DATA with unknown flags")
    flags = Flag(number)
    if Flag.EXPRESS in flags and flags != _ALL_FLAGS:
        raise WireError("frame", "an express message is one frame")
    if Flag.FIRST in flags and not parts:
        raise WireError("frame", "no head")
    return Frame(Kind.DATA, connection, sequence=sequence, flags=flags, parts=parts)


def _read_greeting(kind: Kind, connection: int, rest: memoryview) -> Frame:
    if rest.nbytes > MAX_HELLO:
        raise WireError("frame", f"{kind.name} too large")
    match _unpack(rest, "frame"):
        case {"protocol": int(version)} if version != PROTOCOL_VERSION:
            raise WireError("version", f"a peer of protocol {version}, this is {PROTOCOL_VERSION}")
        case {
            "protocol": int(),
            "identity": str(identity),
            "chunk": int(chunk),
            "window": int(window),
            "express": int(express),
        }:
            pass
        case _:
            raise WireError("frame", f"not a {kind.name}")
    if not (0 < chunk < 1 << 40 and 0 < window < 1 << 20 and 0 < express < 1 << 20):
        raise WireError("frame", f"{kind.name} with impossible terms")
    check_lane(identity)
    return Frame(kind, connection, identity=identity, terms=Terms(chunk, window, express))


def lane_name(identity: str, lane: int) -> str:
    """What the member's connection number `lane` is called: the first has the member's own name."""
    return f"{identity}/{lane}" if lane else identity


def check_lane(name: str) -> tuple[Member, str]:
    """The member whose connection this is, and its identity. Raises WireError unless spelt as `lane_name` does."""
    identity, slash, lane = name.partition("/")
    if slash and lane not in _LANES:
        raise WireError("identity", f"no connection is called {name[:MAX_IDENTITY]!r}")
    return check_identity(identity), identity


def check_identity(identity: str) -> Member:
    """The member that an identity names. Raises WireError unless it is spelt `role-index-incarnation`."""
    try:
        member = Member.parse(identity) if len(identity) <= MAX_IDENTITY else None
    except ValueError:
        member = None
    if member is None or str(member) != identity:
        raise WireError("identity", f"not role-index-incarnation: {identity[:MAX_IDENTITY]!r}")
    return member
