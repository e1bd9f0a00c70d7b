"""Links that are cut, stalled, delayed and healed; peers that are stopped and woken."""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from builders.posts import PATIENCE, Posts, connected
from deepseek_runtime.transport import Message, Post
from faults.proxy import Proxy

KIB = 1 << 10
LONG = {"chunk": 16 * KIB, "window": 2}
TESTS = Path(__file__).parents[2]


@contextmanager
def proxied(posts: Posts, **options: float) -> Iterator[tuple[Post, Post, Proxy]]:
    server, worker = posts.make("server-0-0", **options), posts.make("worker-0-0", **options)
    with Proxy(posts.listen(server)) as proxy:
        worker.dial("server-0-0", proxy.address)
        posts.until(lambda: connected(server, worker))
        yield server, worker, proxy


def passes(posts: Posts, one: Post, other: Post) -> None:
    """A message gets through, both ways."""
    posts.until(lambda: connected(one, other))
    one.send(other.identity, Message("afterwards"))
    other.send(one.identity, Message("afterwards"))
    posts.until(lambda: "afterwards" in posts.kinds(one.identity) and "afterwards" in posts.kinds(other.identity))


def test_a_message_that_was_cut_half_way_arrives_once_and_whole(tcp_posts: Posts) -> None:
    data = random.Random(1).randbytes(600 * KIB)
    with proxied(tcp_posts, **LONG) as (server, worker, proxy):
        for sender, receiver in ((worker, server), (server, worker)):
            before = proxy.forwarded
            sender.send(receiver.identity, Message("half", {}, (data,)))
            tcp_posts.until(lambda before=before: proxy.forwarded > before + 100 * KIB)  # type: ignore[misc]
            proxy.cut()
            assert tcp_posts.got[receiver.identity] == []
            proxy.heal()
            tcp_posts.until(lambda name=receiver.identity: bool(tcp_posts.got[name]))  # type: ignore[misc]
            [(_, message)] = tcp_posts.got[receiver.identity]
            assert bytes(message.buffers[0]) == data
            passes(tcp_posts, server, worker)
            assert tcp_posts.kinds(receiver.identity) == ["half", "afterwards"]
            tcp_posts.got[sender.identity].clear()
            tcp_posts.got[receiver.identity].clear()


def test_what_arrives_through_many_cuts_is_whole_in_order_and_never_twice(tcp_posts: Posts) -> None:
    source = random.Random(2)
    sizes = {"short": 100, "long": 60 * KIB}
    with proxied(tcp_posts, **LONG) as (server, worker, proxy):
        number = 0
        for _ in range(12):
            for _ in range(6):
                number += 1
                kind = source.choice(list(sizes))
                data = bytes([number % 251]) * sizes[kind]
                worker.send("server-0-0", Message(kind, {"number": number}, (data,)))
                server.send("worker-0-0", Message(kind, {"number": number}, (data,)))
                for post in (server, worker):
                    tcp_posts.got[post.identity] += post.receive(0)
            proxy.cut()
            for _ in range(source.randrange(3)):
                for post in (server, worker):
                    tcp_posts.got[post.identity] += post.receive(0.01)
            proxy.heal()
            tcp_posts.until(lambda: connected(server, worker))
        last = {"number": number + 1}
        for kind, size in sizes.items():
            data = bytes([last["number"] % 251]) * size
            assert worker.send("server-0-0", Message(kind, last, (data,)))
            assert server.send("worker-0-0", Message(kind, last, (data,)))
        names = ("server-0-0", "worker-0-0")
        tcp_posts.until(lambda: all(tcp_posts.fields(name, "number").count(number + 1) == 2 for name in names))
    for name in names:
        for kind in sizes:
            numbers = tcp_posts.fields(name, "number", kind)
            assert numbers == sorted(set(numbers))
        for _, message in tcp_posts.got[name]:
            assert bytes(message.buffers[0]) == bytes([message.fields["number"] % 251]) * sizes[message.kind]


def test_an_idle_link_that_was_cut_comes_back(tcp_posts: Posts) -> None:
    with proxied(tcp_posts) as (server, worker, proxy):
        proxy.cut()
        tcp_posts.until(lambda: worker.peers() == set())
        worker.send("server-0-0", Message("meanwhile"))
        proxy.heal()
        passes(tcp_posts, server, worker)
        assert tcp_posts.kinds("server-0-0") == ["meanwhile", "afterwards"]


def test_a_stalled_link_is_noticed_and_comes_back(tcp_posts: Posts) -> None:
    with proxied(tcp_posts, silence=0.4) as (server, worker, proxy):
        proxy.stall()
        tcp_posts.until(lambda: worker.peers() == set() and server.peers() == set())
        proxy.heal()
        passes(tcp_posts, server, worker)


def test_a_short_stall_loses_nothing(tcp_posts: Posts) -> None:
    with proxied(tcp_posts, **LONG) as (server, worker, proxy):
        proxy.stall()
        for number in range(5):
            worker.send("server-0-0", Message("x", {"number": number}, (bytes(100 * KIB),)))
        worker.receive(0.05)
        proxy.heal()
        tcp_posts.until(lambda: len(tcp_posts.got["server-0-0"]) == 5)
        assert tcp_posts.fields("server-0-0", "number") == [0, 1, 2, 3, 4]
        assert not server.refused


def test_a_delayed_link_delivers(tcp_posts: Posts) -> None:
    with proxied(tcp_posts, **LONG) as (server, worker, proxy):
        proxy.delay(0.01)
        worker.send("server-0-0", Message("late", {}, (bytes(200 * KIB),)))
        tcp_posts.until(lambda: tcp_posts.kinds("server-0-0") == ["late"])
        assert not server.refused


def test_an_idle_worker_gives_signs_of_life(tcp_posts: Posts) -> None:
    server, worker = tcp_posts.pair(silence=0.2)
    heard = server.bytes_received
    tcp_posts.until(lambda: server.bytes_received > heard + 100, server, worker)
    assert connected(server, worker)


def test_a_worker_that_was_forgotten_while_it_was_busy_comes_back(tcp_posts: Posts) -> None:
    server, worker = tcp_posts.pair(silence=0.2)
    tcp_posts.until(lambda: server.peers() == set(), server)  # ZeroMQ's own thread keeps the connection alive
    assert not server.send("worker-0-0", Message("x"))
    passes(tcp_posts, server, worker)


def test_a_server_that_comes_back_at_its_address_is_found(tcp_posts: Posts) -> None:
    server, worker = tcp_posts.pair()
    address = worker._dialled["server-0-0"].address
    tcp_posts.close(server)
    tcp_posts.until(lambda: worker.peers() == set())
    again = tcp_posts.make("server-0-0")
    again.listen(address)
    passes(tcp_posts, again, worker)


CHILD = """
import sys
from deepseek_runtime.transport import Message, Post
post = Post("worker-0-0", None, chunk=16384, window=2, silence=float(sys.argv[2]))
post.dial("server-0-0", sys.argv[1])
numbers = []
while True:
    for _, message in post.receive(1.0):
        if message.kind == "end":
            post.send("server-0-0", Message("report", {"numbers": numbers}))
        else:
            number = message.fields["number"]
            numbers.append(number if bytes(message.buffers[0]) == bytes([number]) * 100_000 else -1)
"""


@contextmanager
def child(address: str, silence: float) -> Iterator[subprocess.Popen[bytes]]:
    path = os.pathsep.join([str(TESTS.parent / "runtime"), str(TESTS)])
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, address, str(silence)], env={**os.environ, "PYTHONPATH": path}
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)


def test_a_stopped_worker_loses_no_chunk_and_slows_nobody(plain_posts: Posts) -> None:
    server, other = plain_posts.make("server-0-0", **LONG), plain_posts.make("worker-1-0", **LONG)
    address = plain_posts.listen(server)
    other.dial("server-0-0", address)
    with child(address, 15) as process:
        plain_posts.until(lambda: server.peers() == {"worker-0-0", "worker-1-0"})
        os.kill(process.pid, signal.SIGSTOP)
        before = server.bytes_sent
        for number in range(20):
            assert server.send("worker-0-0", Message("block", {"number": number}, (bytes([number]) * 100_000,)))
        server.receive(0.05)
        assert server.bytes_sent - before < 40 * KIB  # two chunks; the rest waits
        for number in range(20):
            server.send("worker-1-0", Message("block", {"number": number}, (bytes(100_000),)))
        plain_posts.until(lambda: len(plain_posts.got["worker-1-0"]) == 20)
        os.kill(process.pid, signal.SIGCONT)
        plain_posts.until(lambda: not server._visitors.link("worker-0-0").waiting)  # type: ignore[union-attr]
        server.send("worker-0-0", Message("end"))
        plain_posts.until(lambda: bool(plain_posts.got["server-0-0"]))
        assert plain_posts.fields("server-0-0", "numbers") == [list(range(20))]
        assert not server.refused


def test_a_worker_stopped_for_longer_than_a_connection_lives_comes_back(plain_posts: Posts) -> None:
    server = plain_posts.make("server-0-0", **LONG, silence=0.3)
    with child(plain_posts.listen(server), 0.3) as process:
        plain_posts.until(lambda: server.peers() == {"worker-0-0"})
        os.kill(process.pid, signal.SIGSTOP)
        server.send("worker-0-0", Message("block", {"number": 1}, (bytes([1]) * 100_000,)))
        plain_posts.until(lambda: server.peers() == set())
        assert server.refused["silent"]
        os.kill(process.pid, signal.SIGCONT)
        plain_posts.until(lambda: server.peers() == {"worker-0-0"})
        server.send("worker-0-0", Message("block", {"number": 2}, (bytes([2]) * 100_000,)))
        plain_posts.until(lambda: not server._visitors.link("worker-0-0").waiting)  # type: ignore[union-attr]
        server.send("worker-0-0", Message("end"))
        plain_posts.until(lambda: bool(plain_posts.got["server-0-0"]))
        assert plain_posts.fields("server-0-0", "numbers") == [[2]]


def test_the_proxy_holds_its_port_while_it_refuses(plain_posts: Posts) -> None:
    server = plain_posts.make("server-0-0")
    with Proxy(plain_posts.listen(server)) as proxy:
        proxy.cut()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", proxy.port), 5)
        with socket.socket() as thief, pytest.raises(OSError, match="in use"):
            thief.bind(("127.0.0.1", proxy.port))
        proxy.heal()
        socket.create_connection(("127.0.0.1", proxy.port), 5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), 5)
