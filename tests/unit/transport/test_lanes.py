"""Several connections with one peer: one member to everyone above, and each message whole, once."""

import pytest

from builders.posts import Posts
from deepseek_runtime.transport import Message, WireError, wire

LONG = 300_000
COUNT = 24


def test_long_messages_take_all_lanes_both_ways(tcp_posts: Posts) -> None:
    server = tcp_posts.make("server-0-0", threads=2)
    worker = tcp_posts.make("worker-0-0", lanes=3, threads=2)
    worker.dial("server-0-0", tcp_posts.listen(server))
    visitors = server._visitors
    assert visitors is not None
    tcp_posts.until(lambda: len(visitors.lanes("worker-0-0")) == 3 and worker.peers() == {"server-0-0"})
    assert server.peers() == {"worker-0-0"}
    for sender, to in ((worker, server), (server, worker)):
        for number in range(COUNT):
            assert sender.send(to.identity, Message("long", {"number": number}, (bytes([number]) * LONG,)))
        waiting = {link.backlog for name, link in sender._links() if "/" in name}
        assert waiting != {0}
        tcp_posts.until(lambda to=to: len(tcp_posts.got[to.identity]) == COUNT)  # type: ignore[misc]
        got = tcp_posts.got[to.identity]
        assert {name for name, _ in got} == {sender.identity}
        assert sorted(message.fields["number"] for _, message in got) == list(range(COUNT))
        assert all(bytes(message.buffers[0]) == bytes([message.fields["number"]]) * LONG for _, message in got)


def test_short_messages_keep_their_order(tcp_posts: Posts) -> None:
    server = tcp_posts.make("server-0-0")
    worker = tcp_posts.make("worker-0-0", lanes=3)
    worker.dial("server-0-0", tcp_posts.listen(server))
    for number in range(200):
        assert worker.send("server-0-0", Message("short", {"number": number}))
        worker.receive(0.0)
        tcp_posts.got["server-0-0"] += server.receive(0.0)
    tcp_posts.until(lambda: len(tcp_posts.got["server-0-0"]) == 200)
    assert tcp_posts.fields("server-0-0", "number") == list(range(200))


def test_all_lanes_end_with_the_peer(tcp_posts: Posts) -> None:
    server = tcp_posts.make("server-0-0")
    worker = tcp_posts.make("worker-0-0", lanes=4)
    worker.dial("server-0-0", tcp_posts.listen(server))
    visitors = server._visitors
    assert visitors is not None
    tcp_posts.until(lambda: len(visitors.lanes("worker-0-0")) == 4)
    worker.hang_up("server-0-0")
    tcp_posts.until(lambda: not visitors.links(), server)
    assert not worker._dialled


@pytest.mark.parametrize("name", ["worker-0-0/0", "worker-0-0/8", "worker-0-0/", "worker-0-0/1/1", "worker-0-0/01"])
def test_a_lane_of_another_name_is_none(name: str) -> None:
    with pytest.raises(WireError):
        wire.check_lane(name)
