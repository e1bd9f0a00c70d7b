"""What one member writes, another sees."""

import logging

import pytest

from builders.etcd import Join, LocalEtcd
from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.contract.records import (
    Command,
    Finished,
    Progress,
    Registration,
    Request,
    State,
    TermRecord,
)
from deepseek_runtime.membership import Membership, Unavailable, View
from deepseek_runtime.membership.connection import Connection


def test_every_kind_of_record_arrives_and_goes(shared: LocalEtcd, keys: JobKeys, join: Join) -> None:
    writer, reader = join(shared), join(shared)
    term = TermRecord(number=3, servers=())
    state = State(opened=3, finished=Finished(term=3, step=7))
    progress = Progress(term=3, step=7, steps=9)
    request = Request(kind="roll_back", term=3, reason="loss rose")
    assert writer.raise_term(term)
    assert writer.put_state(state, 3)
    assert writer.put_progress(progress, 3)
    assert writer.put_request("r/1", request)
    assert writer.put_command("c1", Command(kind="drain"))
    writer.register("worker", 12, Registration(incarnation=4))
    assert reader.until(lambda: ("worker", 12) in reader.view().registrations)
    view = reader.view()
    assert (view.term, view.state, view.progress) == (term, state, progress)
    assert view.requests == {"r/1": request}
    assert view.commands == {"c1": Command(kind="drain")}
    assert view.registrations == {("worker", 12): Registration(incarnation=4)}
    assert (view.unknown_since, view.emptied) == (None, 0)

    assert reader.acknowledge("c1", Command(kind="drain", acknowledged=True, outcome="at step 7"))
    assert writer.until(lambda: writer.view().commands["c1"].outcome == "at step 7")
    assert writer.drop_command("c1")
    assert not reader.acknowledge("c1", Command(kind="drain", acknowledged=True))
    assert writer.drop_request("r/1")
    assert not writer.drop_request("r/1")
    assert reader.until(lambda: not reader.view().requests and not reader.view().commands)

    writer.close()
    reader.clear()
    assert reader.until(lambda: reader.view() == View(listed_at=view.listed_at))


def test_another_jobs_keys_are_not_seen(shared: LocalEtcd, keys: JobKeys, join: Join) -> None:
    reader = join(shared)
    other = Membership([shared.endpoint], JobKeys(keys.prefix[:-1] + "0/"), tls=shared.tls)
    assert other.raise_term(TermRecord(number=5, servers=()))
    other.close()
    assert reader.raise_term(TermRecord(number=1, servers=()))
    assert reader.until(lambda: reader.view().term is not None)
    assert reader.view().term == TermRecord(number=1, servers=())


def test_values_that_cannot_be_read_are_ignored_with_one_warning_a_key(
    shared: LocalEtcd, keys: JobKeys, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    reader = join(shared)
    raw = Connection([shared.endpoint], 5.0, shared.tls)
    for value in (b"{", b'{"number": "three"}', b"\xff"):
        raw.put(keys.term, value)
    raw.put(keys.prefix + "members/server/first", b"{}")
    raw.put(keys.prefix + "of/a/later/version", b"{}")
    raw.put(keys.command("c"), b'{"kind": "evaluate", "later": 1}')
    assert reader.until(lambda: bool(reader.view().commands))
    assert reader.view().term is None
    assert reader.view().registrations == {}
    assert reader.read_term() is None
    warned = [record.getMessage() for record in caplog.records if record.threadName == "etcd-watch"]
    assert len([message for message in warned if keys.term in message]) == 1
    # The operator replaces what nobody can read.
    assert reader.raise_term(TermRecord(number=1, servers=()))
    assert reader.until(lambda: reader.view().term is not None)
    raw.close()


def test_an_etcd_that_is_not_there_is_unavailable(keys: JobKeys) -> None:
    member = Membership(["127.0.0.1:1"], keys, call_timeout=0.3)
    member.start()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 gave no listing within 0\.5 s"):
        member.wait_listed(0.5)
    with pytest.raises(Unavailable):
        member.read_term()
    assert not member.health()
    assert member.view().unknown_since is not None
    member.close()
    member.close()


def test_a_second_endpoint_is_tried_when_the_first_is_dead(shared: LocalEtcd, keys: JobKeys) -> None:
    member = Membership(["127.0.0.1:1", shared.endpoint], keys, tls=shared.tls, call_timeout=0.5)
    member.start()
    assert member.wait_listed(10.0).unknown_since is None
    assert member.health()
    member.close()
