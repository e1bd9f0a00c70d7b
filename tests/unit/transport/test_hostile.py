"""Strangers, and members that send rubbish: nothing breaks, nothing grows, others are served."""

import os
import random
import socket as tcp
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
import zmq

from builders.posts import Posts
from deepseek_runtime.transport import Message, Post, wire
from deepseek_runtime.transport.wire import Flag, Kind, Limits, Terms

KIB = 1 << 10
EVE = "worker-6-6"
EXPRESS = Flag.FIRST | Flag.LAST | Flag.EXPRESS
TERMS = Terms(64 * KIB, 4, 16)


class Raw:
    """A DEALER that says whatever it likes."""

    def __init__(self, address: str, identity: bytes) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDTIMEO, 5000)
        self.socket.setsockopt(zmq.ROUTING_ID, identity)
        self.socket.connect(address)

    def say(self, *parts: bytes) -> None:
        self.socket.send_multipart(parts)

    def hello(self, connection: int, identity: str = EVE) -> None:
        self.say(wire.pack_greeting(Kind.HELLO, connection, identity, TERMS))

    def close(self) -> None:
        self.socket.close()
        self._context.term()


@pytest.fixture
def raws() -> Iterator[list[Raw]]:
    made: list[Raw] = []
    yield made
    for raw in made:
        raw.close()


def raw(raws: list[Raw], post: Post, identity: str = EVE) -> Raw:
    assert post._visitors is not None
    one = Raw(post._visitors.router.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0"), identity.encode())
    raws.append(one)
    return one


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def served(posts: Posts) -> None:
    """A member still gets its answers."""
    for name in ("server-0-0", "worker-0-0"):
        posts.got[name].clear()
    server, worker = (next(post for post in posts._open if post.identity == name) for name in posts.got)
    worker.send("server-0-0", Message("ask", {}, (bytes(100 * KIB),)))
    posts.until(lambda: "ask" in posts.kinds("server-0-0"))
    server.send("worker-0-0", Message("answer"))
    posts.until(lambda: posts.kinds("worker-0-0") == ["answer"])


def mutated(source: random.Random, connection: int, sequence: int) -> list[bytes]:
    """A frame with a few bytes, parts or lengths changed, of a connection that is right most of the time."""
    head = wire.encode(Message("x", {"a": [1, 2]}, (b"abc", bytes(300))), Limits()).head
    frames = [
        [wire.pack_data(connection, sequence, EXPRESS), head, b"abc" + bytes(300)],
        [wire.pack_data(connection, sequence, Flag.FIRST), head, b"abc"],
        [wire.pack_data(connection, sequence, Flag.LAST), bytes(300)],
        [wire.pack_credit(connection, source.randrange(50), source.randrange(50))],
        [wire.pack_greeting(Kind.HELLO, connection, EVE, TERMS)],
        [wire.pack_greeting(Kind.WELCOME, connection, EVE, TERMS)],
        [wire.pack_word(source.choice([Kind.PING, Kind.RESET, Kind.BYE]), connection)],
    ]
    parts = [bytearray(part) for part in source.choice(frames)]
    for _ in range(source.randrange(3)):
        part = source.choice(parts)
        match source.randrange(4):
            case 0:
                part[source.randrange(len(part))] = source.randrange(256) if part else 0
            case 1:
                del part[source.randrange(len(part)) + 1 :]
            case 2:
                part += source.randbytes(source.randrange(40))
            case 3:
                parts.insert(source.randrange(len(parts) + 1), bytearray(source.randbytes(12)))
    return [bytes(part) for part in parts]


def test_thousands_of_mutated_frames_do_no_harm(plain_posts: Posts, raws: list[Raw]) -> None:
    server, _ = plain_posts.pair()
    source = random.Random(3)
    eve = raw(raws, server)
    memory = 0
    for turn in range(4000):
        if turn % 8 == 0:
            eve.hello(7)
        eve.say(*mutated(source, 7 if source.random() < 0.9 else 8, source.randrange(3)))
        if turn % 20 == 0:
            server.receive(0)
            while eve.socket.poll(0):
                eve.socket.recv_multipart()
        if turn == 1000:
            memory = resident()
    eve.hello(9)
    eve.say(wire.pack_data(9, 0, EXPRESS), wire.encode(Message("done"), Limits()).head)
    plain_posts.until(lambda: "done" in plain_posts.kinds("server-0-0"))
    served(plain_posts)
    assert sum(server.refused.values()) > 500
    assert {"frame", "sequence", "head", "size", "stale"} <= set(server.refused)
    assert server._visitors is not None
    assert set(server._visitors.links()) <= {"worker-0-0", EVE}
    assert resident() - memory < 32 << 20


def test_a_peer_that_never_reads_holds_no_memory(plain_posts: Posts, raws: list[Raw]) -> None:
    server, _ = plain_posts.pair()
    eve = raw(raws, server)
    eve.socket.setsockopt(zmq.RCVHWM, 1)
    eve.hello(1)
    plain_posts.until(lambda: EVE in server.peers())
    before = server.bytes_sent
    for number in range(2000):
        eve.say(wire.pack_word(Kind.PING, 99))  # each asks for a RESET
        if number == 1000:
            eve.hello(number + 2)
        if number % 50 == 0:
            server.receive(0)
    taken = [server.send(EVE, Message("x", {}, (bytes(50 * KIB),))) for _ in range(400)]
    assert not taken[-1]
    assert server.bytes_sent - before < 2 << 20
    served(plain_posts)


def test_announcing_much_takes_nothing(plain_posts: Posts, raws: list[Raw]) -> None:
    server, _ = plain_posts.pair()
    eve = raw(raws, server)
    eve.hello(7)
    memory = resident()
    head: bytes = msgpack.packb([1, "x", {}, [3 << 30]])
    eve.say(wire.pack_data(7, 0, Flag.FIRST), head, bytes(1000))
    plain_posts.until(lambda: EVE in server.peers())
    served(plain_posts)
    assert resident() - memory < 64 << 20
    head = msgpack.packb([1, "x", {}, [1 << 60]])
    eve.hello(8)
    eve.say(wire.pack_data(8, 0, Flag.FIRST), head, bytes(1000))
    plain_posts.until(lambda: server.refused["size"] == 1)
    served(plain_posts)


@pytest.mark.parametrize("identity", ["eve", "worker-1", "worker-01-0", "chief-0-0", "\x01\x02"])
def test_names_that_are_no_members_are_refused(plain_posts: Posts, raws: list[Raw], identity: str) -> None:
    server, _ = plain_posts.pair()
    eve = raw(raws, server, identity)
    eve.hello(7, "worker-3-0")
    plain_posts.until(lambda: server.refused["identity"] == 1)
    assert server.peers() == {"worker-0-0"}
    served(plain_posts)


def test_a_hello_for_somebody_else_is_refused(plain_posts: Posts, raws: list[Raw]) -> None:
    server, _ = plain_posts.pair()
    raw(raws, server).hello(7, "worker-0-0")
    plain_posts.until(lambda: server.refused["identity"] == 1)
    served(plain_posts)


def test_data_before_a_hello_is_refused(plain_posts: Posts, raws: list[Raw]) -> None:
    server, _ = plain_posts.pair()
    raw(raws, server).say(wire.pack_word(Kind.PING, 5))
    plain_posts.until(lambda: server.refused["stale"] == 1)
    assert server.peers() == {"worker-0-0"}


def test_a_part_that_is_too_large_ends_the_connection(plain_posts: Posts, raws: list[Raw]) -> None:
    server, _ = plain_posts.pair(chunk=64 * KIB)
    eve = raw(raws, server)
    eve.hello(7)
    plain_posts.until(lambda: EVE in server.peers())
    eve.say(wire.pack_data(7, 0, Flag.FIRST), bytes(8 << 20))
    served(plain_posts)
    assert server.bytes_received < 1 << 20


def test_rubbish_instead_of_zeromq_does_no_harm(plain_posts: Posts) -> None:
    server, worker = plain_posts.pair()
    port = int(worker._dialled["server-0-0"].address.rpartition(":")[2])
    source = random.Random(4)
    for _ in range(20):
        with tcp.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(source.randbytes(source.randrange(1, 500)))
            server.receive(0)
    served(plain_posts)


def test_no_more_peers_than_allowed(plain_posts: Posts) -> None:
    server = plain_posts.make("server-0-0", max_peers=1)
    address = plain_posts.listen(server)
    first, second, third = (plain_posts.make(f"worker-{index}-0") for index in range(3))
    first.dial("server-0-0", address)
    plain_posts.until(lambda: server.peers() == {"worker-0-0"})
    second.dial("server-0-0", address)
    plain_posts.until(lambda: second.refused["reset by peer: peers"] == 1)
    assert server.peers() == {"worker-0-0"}
    plain_posts.close(first)
    plain_posts.until(lambda: server.peers() == set())
    third.dial("server-0-0", address)
    plain_posts.until(lambda: server.peers() == {"worker-2-0"})


def test_a_peer_that_falls_silent_is_forgotten(plain_posts: Posts, raws: list[Raw]) -> None:
    server = plain_posts.make("server-0-0", silence=0.2)
    plain_posts.listen(server)
    eve = raw(raws, server)
    eve.hello(7)
    plain_posts.until(lambda: server.peers() == {EVE})
    plain_posts.until(lambda: server.refused["silent"] == 1)
    assert not server.send(EVE, Message("x"))
