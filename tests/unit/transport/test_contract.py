"""What every transport promises."""

import os
import threading
from collections import Counter

import numpy as np
import pytest

from builders.posts import Posts, connected
from deepseek_runtime.transport import Message, WireError

KIB = 1 << 10


def test_messages_arrive_both_ways_with_fields_and_buffers(posts: Posts) -> None:
    server, worker = posts.pair()
    array = np.arange(1000, dtype=np.float32)
    fields = {"g": 7, "w": 0.25, "name": "é", "raw": b"\0", "spans": [1, [2]], "map": {"a": None, "b": True}}
    assert worker.send("server-0-0", Message("push", fields, (array, b"", b"xyz")))
    assert server.send("worker-0-0", Message("welcome"))
    posts.until(lambda: bool(posts.got["server-0-0"] and posts.got["worker-0-0"]))
    [(sender, message)] = posts.got["server-0-0"]
    assert (sender, message.kind, message.fields) == ("worker-0-0", "push", fields)
    assert [bytes(buffer) for buffer in message.buffers] == [array.tobytes(), b"", b"xyz"]
    assert np.array_equal(np.frombuffer(message.buffers[0], np.float32), array)
    assert posts.got["worker-0-0"] == [("server-0-0", Message("welcome"))]
    assert not server.refused
    assert not worker.refused


def test_large_messages_come_together_from_chunks_in_order(posts: Posts) -> None:
    server, worker = posts.pair(chunk=16 * KIB, window=3)
    source = np.random.default_rng(1)
    sent = [source.bytes(size) for size in (200 * KIB, 17 * KIB, 300 * KIB + 1)]
    for index, data in enumerate(sent):
        worker.send("server-0-0", Message("push", {"index": index}, (data[:70], data[70:])))
    posts.until(lambda: len(posts.got["server-0-0"]) == 3)
    assert posts.fields("server-0-0", "index") == [0, 1, 2]
    assert [b"".join(map(bytes, m.buffers)) for _, m in posts.got["server-0-0"]] == sent
    assert not server.refused


def test_short_messages_keep_their_order(posts: Posts) -> None:
    _, worker = posts.pair(queue=1000)
    for index in range(600):
        assert worker.send("server-0-0", Message("x", {"index": index}))
    posts.until(lambda: len(posts.got["server-0-0"]) == 600)
    assert posts.fields("server-0-0", "index") == list(range(600))


def test_a_short_message_is_not_held_up_by_a_long_one(posts: Posts) -> None:
    server, _ = posts.pair(chunk=16 * KIB, window=2)
    server.send("worker-0-0", Message("long", {}, (bytes(2000 * KIB),)))
    server.send("worker-0-0", Message("short"))
    posts.until(lambda: len(posts.got["worker-0-0"]) == 2)
    assert posts.kinds("worker-0-0") == ["short", "long"]


def test_a_message_may_be_sent_before_the_peer_listens(posts: Posts) -> None:
    server, worker = posts.make("server-0-0"), posts.make("worker-0-0")
    address = posts.listen(server)
    worker.dial("server-0-0", address)
    assert worker.send("server-0-0", Message("early"))
    posts.until(lambda: posts.kinds("server-0-0") == ["early"])


def test_unknown_peers_are_refused(posts: Posts) -> None:
    server, worker = posts.pair()
    assert not server.send("worker-9-9", Message("x"))
    assert not worker.send("server-9-9", Message("x"))


def test_full_queues_are_said(posts: Posts) -> None:
    worker = posts.make("worker-0-0", queue=3)
    server = posts.make("server-0-0")
    worker.dial("server-0-0", posts.listen(server))
    assert [worker.send("server-0-0", Message("x")) for _ in range(4)] == [True] * 3 + [False]
    posts.until(lambda: len(posts.got["server-0-0"]) == 3)


def test_what_cannot_be_sent_is_an_error(posts: Posts) -> None:
    server, _ = posts.pair(max_message=100 * KIB)
    with pytest.raises(WireError):
        server.send("worker-0-0", Message("x", {}, (bytes(200 * KIB),)))


def test_many_workers_each_get_their_own(posts: Posts) -> None:
    server = posts.make("server-0-0")
    address = posts.listen(server)
    workers = [posts.make(f"worker-{index}-0") for index in range(5)]
    for worker in workers:
        worker.dial("server-0-0", address)
    posts.until(lambda: len(server.peers()) == 5)
    for worker in workers:
        server.send(worker.identity, Message("yours", {"name": worker.identity}))
    posts.until(lambda: all(posts.got[worker.identity] for worker in workers))
    for worker in workers:
        assert posts.fields(worker.identity, "name") == [worker.identity]


def test_servers_dial_each_other(posts: Posts) -> None:
    one, other = posts.make("server-0-0"), posts.make("server-1-0")
    addresses = posts.listen(one), posts.listen(other)
    one.dial("server-1-0", addresses[1])
    other.dial("server-0-0", addresses[0])
    posts.until(lambda: connected(one, other))
    one.send("server-1-0", Message("from 0"))
    other.send("server-0-0", Message("from 1"))
    posts.until(lambda: bool(posts.got["server-0-0"] and posts.got["server-1-0"]))
    assert posts.kinds("server-0-0") == ["from 1"]
    assert posts.kinds("server-1-0") == ["from 0"]


def test_dialling_again_is_nothing_and_another_address_replaces(posts: Posts) -> None:
    server, worker = posts.pair()
    address = worker._dialled["server-0-0"].address
    worker.dial("server-0-0", address)
    assert connected(server, worker)
    posts.close(server)
    again = posts.make("server-0-0")
    worker.dial("server-0-0", posts.listen(again))
    worker.send("server-0-0", Message("x"))
    posts.until(lambda: posts.kinds("server-0-0") == ["x"])


def test_somebody_else_at_the_address_gets_nothing(posts: Posts) -> None:
    """A port may be taken again by another server."""
    server, worker = posts.make("server-1-0"), posts.make("worker-0-0")
    worker.dial("server-0-0", posts.listen(server))
    worker.send("server-0-0", Message("for 0"))
    posts.until(lambda: worker.refused["identity"] > 0)
    assert posts.got["server-1-0"] == []
    assert worker.peers() == set()


def test_hanging_up_is_seen_by_the_other_side(posts: Posts) -> None:
    server, worker = posts.pair()
    worker.hang_up("server-0-0")
    posts.until(lambda: server.peers() == set())
    assert not worker.send("server-0-0", Message("x"))
    assert not server.send("worker-0-0", Message("x"))


def test_closing_sends_what_waits(posts: Posts) -> None:
    _, worker = posts.pair()
    worker.send("server-0-0", Message("last", {}, (bytes(100 * KIB),)))
    posts.close(worker)
    posts.until(lambda: posts.kinds("server-0-0") == ["last"])


def test_a_closed_post_is_closed(posts: Posts) -> None:
    worker = posts.make("worker-0-0")
    worker.close()
    worker.close()
    worker.wake()
    with pytest.raises(ValueError, match="closed"):
        worker.receive(0)


def test_wake_ends_receive_from_another_thread(posts: Posts) -> None:
    worker = posts.make("worker-0-0")
    waker = threading.Timer(0.05, worker.wake)
    waker.start()
    assert worker.receive(60) == []
    waker.join()
    worker.wake()
    assert worker.receive(60) == []


def test_bytes_of_both_sides_agree(posts: Posts) -> None:
    server, worker = posts.pair(chunk=16 * KIB)
    size = 100 * KIB
    worker.send("server-0-0", Message("x", {}, (bytes(size),)))
    posts.until(lambda: len(posts.got["server-0-0"]) == 1)
    posts.until(lambda: worker.bytes_received == server.bytes_sent)
    assert worker.bytes_sent == server.bytes_received
    assert size < worker.bytes_sent < size * 1.05


def test_the_same_identity_comes_back(posts: Posts) -> None:
    server, worker = posts.pair()
    address = worker._dialled["server-0-0"].address
    again = posts.make("worker-0-0")  # the first is still there, and silent
    again.dial("server-0-0", address)
    again.send("server-0-0", Message("again"))
    posts.until(lambda: posts.kinds("server-0-0") == ["again"], server, again)
    server.send("worker-0-0", Message("to the newer"))
    posts.got["worker-0-0"].clear()
    posts.until(lambda: posts.kinds("worker-0-0") == ["to the newer"], server, again)


def test_no_thread_and_no_descriptor_is_left(posts: Posts) -> None:
    posts.pair()
    posts.close_all()  # the first post may start pyzmq's own collector
    threads, descriptors = Counter(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        posts.pair()
        posts.close_all()
    assert Counter(threading.enumerate()) == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors
