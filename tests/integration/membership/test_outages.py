"""etcd killed and emptied, paused, cut off: members find back by themselves, and leave nothing behind."""

import os
import threading
import uuid
from functools import partial

import pytest

from builders.etcd import Join, LocalEtcd, Watched
from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.contract.names import Role
from deepseek_runtime.contract.records import Progress, Registration, State, TermRecord
from deepseek_runtime.membership import Membership, Unavailable
from deepseek_runtime.membership.connection import Connection

SEAT: tuple[Role, int] = ("server", 0)
OTHER = JobKeys.of("test", "default", "other", "0")


def test_killed_and_emptied(own: LocalEtcd, keys: JobKeys, join: Join) -> None:
    operator, server = join(own), join(own)
    server.register("server", 0, Registration(incarnation=1))
    assert operator.raise_term(TermRecord(number=4, servers=()))
    assert server.put_state(State(opened=4), 4)
    assert operator.until(lambda: operator.view().state is not None and SEAT in operator.view().registrations)
    before = operator.view()

    own.kill()
    for member in (operator, server):
        assert member.until(partial(_lost, member))
    away = operator.view()
    assert away.registrations == before.registrations, "silence of etcd is no news"
    assert (away.term, away.state, away.emptied, away.listed_at) == (before.term, before.state, 0, before.listed_at)
    assert not server.health()
    with pytest.raises(Unavailable):
        server.put_state(State(opened=4), 4)

    own.start()
    assert operator.until(lambda: operator.view().emptied == 1)
    assert operator.until(lambda: SEAT in operator.view().registrations), "registered anew"
    now = operator.view()
    assert (now.term, now.state, now.unknown_since) == (None, None, None)
    assert now.listed_at is not None
    assert before.listed_at is not None
    assert now.listed_at > before.listed_at
    assert server.until(lambda: server.view().emptied == 1)
    # Another term may stand at the very revision that the old one had; the chief of the old one writes nothing.
    assert not server.put_state(State(opened=4), 4)
    assert operator.raise_term(TermRecord(number=5, servers=()))
    assert not server.put_state(State(opened=4), 4)
    assert server.put_state(State(opened=5), 5)
    assert operator.until(lambda: operator.view().state == State(opened=5)), "the watch is not deaf"


def test_emptied_and_already_past_the_old_revision(
    own: LocalEtcd, keys: JobKeys, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same cluster id and a revision that does not tell: only the listing's contents do."""
    monkeypatch.setattr(uuid, "uuid4", lambda: "one token for all starts")
    own.kill()
    own.start()
    reader = join(own)
    assert reader.raise_term(TermRecord(number=1, servers=()))
    assert reader.until(lambda: reader.view().term is not None)
    cluster = reader._connection.list(keys.prefix).cluster
    own.kill()
    assert reader.until(lambda: reader.view().unknown_since is not None)
    reader._connection.close()  # holds it off while others fill the new etcd
    own.start()
    raw = Connection([own.endpoint], 5.0, own.tls)
    assert raw.list(keys.prefix).cluster == cluster
    for step in range(20):
        raw.put(OTHER.progress, str(step).encode())
    raw.put(keys.state, State(opened=9).model_dump_json().encode())
    reader._connection._closed = False
    assert reader.until(lambda: reader.view().emptied == 1)
    assert (reader.view().term, reader.view().state) == (None, State(opened=9))
    raw.put(keys.state, State(opened=10).model_dump_json().encode())
    assert reader.until(lambda: reader.view().state == State(opened=10))
    raw.close()


def test_paused_and_woken(own: LocalEtcd, join: Join) -> None:
    operator, server = join(own), join(own)
    server.register("server", 0, Registration(incarnation=1))
    assert operator.raise_term(TermRecord(number=1, servers=()))
    assert operator.until(lambda: SEAT in operator.view().registrations)
    assert server.until(lambda: server.view().term is not None)
    own.pause()
    try:
        # The connections stay open, nothing comes: only asking tells.
        for member in (operator, server):
            assert member.until(partial(_lost, member))
        assert operator.view().registrations.keys() == {SEAT}
        assert not operator.health()
        with pytest.raises(Unavailable):
            server.put_progress(Progress(term=1, step=1, steps=2), 1)
    finally:
        own.resume()
    for member in (operator, server):
        assert member.until(partial(_listed, member))
    assert operator.until(lambda: SEAT in operator.view().registrations)
    assert operator.view().emptied == 0
    assert operator.view().term == TermRecord(number=1, servers=())
    assert server.put_state(State(opened=1), 1)
    assert operator.until(lambda: operator.view().state == State(opened=1)), "the watch is not deaf"


def test_five_kills_leave_no_thread_and_no_descriptor(own: LocalEtcd, join: Join) -> None:
    reader, member = join(own), join(own)
    member.register("worker", 0, Registration(incarnation=1))
    assert reader.until(lambda: bool(reader.view().registrations))
    threads, descriptors = threading.active_count(), _descriptors()
    for kills in range(1, 6):
        own.kill()
        assert reader.until(lambda: reader.view().unknown_since is not None)
        own.start()
        assert reader.until(partial(_emptied, reader, kills))
        assert reader.until(lambda: bool(reader.view().registrations))
    # grpc ends a broken call's thread in its own time.
    assert reader.until(lambda: threading.active_count() <= threads), [t.name for t in threading.enumerate()]
    assert reader.until(lambda: _descriptors() <= descriptors + 1), "one event file of grpc's may be in use"


@pytest.mark.parametrize("how", ["answering", "killed", "paused"])
def test_close_ends_all_threads(own: LocalEtcd, keys: JobKeys, how: str) -> None:
    threads = set(threading.enumerate())
    member = Membership([own.endpoint], keys, tls=own.tls, call_timeout=0.5)
    member.start()
    member.start()
    member.register("worker", 0, Registration(incarnation=1))
    member.wait_listed(10.0)
    if how == "killed":
        own.kill()
    elif how == "paused":
        own.pause()
    member.close()
    member.close()
    assert _ended(threads)
    with pytest.raises(Unavailable):
        member.read_term()
    with pytest.raises(RuntimeError, match="closed"):
        member.start()


def _lost(member: Watched) -> bool:
    return member.view().unknown_since is not None


def _listed(member: Watched) -> bool:
    return not _lost(member)


def _emptied(member: Watched, times: int) -> bool:
    return member.view().emptied == times


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _ended(before: set[threading.Thread]) -> bool:
    for thread in set(threading.enumerate()) - before:
        thread.join(5.0)
    return set(threading.enumerate()) <= before
