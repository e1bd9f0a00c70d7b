"""Entries to a View, and what tells an emptied etcd from the one before."""

import logging

import pytest

from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.contract.records import Command, Record, Registration, Request, State, TermRecord
from deepseek_runtime.membership import View
from deepseek_runtime.membership.connection import Entry, Listing, prefix_end
from deepseek_runtime.membership.contents import Parser, another_history, known

KEYS = JobKeys.of("i", "n", "j", "u")


def entry(key: str, value: bytes | Record = b"{}", created: int = 1, modified: int = 1) -> Entry:
    return Entry(key, value if isinstance(value, bytes) else value.model_dump_json().encode(), created, modified)


def view_of(*entries: Entry) -> View:
    return Parser(KEYS).view(entries)


def test_each_key_has_its_record() -> None:
    term = TermRecord(number=2, servers=())
    view = view_of(
        entry(KEYS.term, term),
        entry(KEYS.state, State(opened=2)),
        entry(KEYS.member("server", 0), Registration(incarnation=1)),
        entry(KEYS.member("worker", 10), Registration(incarnation=2)),
        entry(KEYS.request("a"), Request(kind="fail", term=2)),
        entry(KEYS.command("b"), Command(kind="drain")),
    )
    assert view == View(
        term=term,
        state=State(opened=2),
        registrations={("server", 0): Registration(incarnation=1), ("worker", 10): Registration(incarnation=2)},
        requests={"a": Request(kind="fail", term=2)},
        commands={"b": Command(kind="drain")},
    )


UNKNOWN = """
terms term/1 members/server members/server/ members/server/x members/server/01 members/server/² members/server/-1
members/cook/0 members/server/0/1 requests/ requests later/version
"""


@pytest.mark.parametrize("path", ["", *UNKNOWN.split()])
def test_keys_that_this_version_does_not_know_are_passed_over(path: str, caplog: pytest.LogCaptureFixture) -> None:
    assert view_of(entry(KEYS.prefix + path, b'{"incarnation": 1}')) == View()
    assert not caplog.records


@pytest.mark.parametrize("value", [b"", b"{", b"\xff\xfe", b"[]", b'{"number": 0, "servers": []}', b'{"servers": []}'])
def test_a_value_that_cannot_be_read_is_left_out_with_one_warning(
    value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    parser = Parser(KEYS)
    state = entry(KEYS.state, State(opened=1))
    for modified in range(3):
        assert parser.view([entry(KEYS.term, value, modified=modified), state]) == View(state=State(opened=1))
    assert [record.getMessage().split(": ")[0] for record in caplog.records] == [
        f"ignored what etcd holds at {KEYS.term}"
    ]


def test_fields_of_a_later_version_are_ignored() -> None:
    assert view_of(entry(KEYS.state, b'{"opened": 3, "later": {"x": 1}}')).state == State(opened=3)


def test_a_view_cannot_be_changed() -> None:
    view = view_of(entry(KEYS.command("b"), Command(kind="drain")))
    with pytest.raises(TypeError):
        view.commands["c"] = Command(kind="drain")  # type: ignore[index]


BEFORE = known(Listing(7, 10, (entry("/a", b"1", 2, 5), entry("/b", b"2", 3, 3))))


@pytest.mark.parametrize(
    "name, listing, other",
    [
        ("nothing happened", Listing(7, 10, (entry("/a", b"1", 2, 5), entry("/b", b"2", 3, 3))), False),
        ("changed later", Listing(7, 12, (entry("/a", b"9", 2, 12), entry("/b", b"2", 3, 3))), False),
        ("deleted, others written", Listing(7, 30, (entry("/b", b"2", 3, 3),)), False),
        ("deleted and made anew", Listing(7, 30, (entry("/a", b"1", 11, 11),)), False),
        ("all gone by their leases", Listing(7, 30, ()), False),
        ("another cluster", Listing(8, 10, (entry("/a", b"1", 2, 5), entry("/b", b"2", 3, 3))), True),
        ("revision went back", Listing(7, 9, ()), True),
        ("same revision, other value", Listing(7, 10, (entry("/a", b"9", 2, 5),)), True),
        ("a key we should have known", Listing(7, 30, (entry("/c", b"1", 4, 4),)), True),
        ("a key we should have known, changed since", Listing(7, 30, (entry("/c", b"1", 4, 20),)), True),
        ("our key with another birth", Listing(7, 30, (entry("/a", b"1", 6, 20),)), True),
        ("our key is older", Listing(7, 30, (entry("/a", b"1", 2, 4),)), True),
    ],
)
def test_another_history(name: str, listing: Listing, other: bool) -> None:
    assert another_history(BEFORE, listing) is other


@pytest.mark.parametrize("prefix, end", [(b"/a/", b"/a0"), (b"a\xff", b"b"), (b"\xff", b"\0"), (b"", b"\0")])
def test_prefix_end(prefix: bytes, end: bytes) -> None:
    assert prefix_end(prefix) == end
