"""Nothing of a term is written once a higher one is there, however the writers race."""

import threading
from collections.abc import Callable
from functools import partial

import pytest

from builders.etcd import Join, LocalEtcd
from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.contract.records import Progress, Request, ServerSeat, State, TermRecord
from deepseek_runtime.membership.connection import Connection, Entry


def term(number: int, address: str = "a") -> TermRecord:
    return TermRecord(number=number, servers=(ServerSeat(index=0, incarnation=number, address=address),))


def test_only_the_present_term_writes(shared: LocalEtcd, join: Join) -> None:
    chief, operator = join(shared), join(shared)
    assert not chief.put_state(State(opened=1), 1)
    assert operator.raise_term(term(2))
    assert not chief.put_state(State(opened=1), 1)
    assert not chief.put_state(State(opened=3), 3)
    assert not chief.put_progress(Progress(term=1, step=1, steps=2), 1)
    assert not chief.put_request("r", Request(kind="roll_back", term=1))
    assert chief.put_state(State(opened=2), 2)
    assert chief.put_request("r", Request(kind="roll_back", term=2))
    assert operator.until(lambda: operator.view().requests.keys() == {"r"})
    assert operator.view().state == State(opened=2)
    assert operator.view().progress is None


def test_a_term_is_only_ever_raised(shared: LocalEtcd, join: Join) -> None:
    first, second = join(shared), join(shared)
    assert first.raise_term(term(2))
    assert first.raise_term(term(2)), "the same record again is no news"
    assert not second.raise_term(term(2, address="b"))
    assert not second.raise_term(term(1))
    assert second.read_term() == term(2)
    assert second.raise_term(term(3, address="b"))
    assert first.read_term() == term(3, address="b")


def test_of_two_operators_that_raise_the_same_number_one_wins(shared: LocalEtcd, join: Join) -> None:
    members = [join(shared), join(shared)]
    for number in range(1, 9):
        won = [False, False]
        start = threading.Barrier(2)

        def race(which: int, number: int, won: list[bool], start: threading.Barrier) -> None:
            start.wait(5.0)
            won[which] = members[which].raise_term(term(number, address=str(which)))

        _together(*(partial(race, which, number, won, start) for which in (0, 1)))
        assert sorted(won) == [False, True]
        assert members[0].read_term() == term(number, address=str(won.index(True)))


def test_a_late_chief_never_writes_into_a_later_term(shared: LocalEtcd, join: Join, keys: JobKeys) -> None:
    """All writes in the order in which etcd had them: each progress stands after its own term and before the next."""
    operator, chief = join(shared), join(shared)
    raw = Connection([shared.endpoint], 5.0, shared.tls)
    begin = raw.list(keys.prefix).revision
    operator.raise_term(term(1))
    last = 12
    written = 0

    def reached(wanted: int) -> bool:
        return written >= wanted

    def raise_terms() -> None:
        for number in range(2, last + 1):
            operator.until(partial(reached, written + 3), timeout=0.5)
            operator.raise_term(term(number))

    def write_progress() -> None:
        nonlocal written
        mine = 1
        while mine <= last:
            if chief.put_progress(Progress(term=mine, step=written, steps=10**6), mine):
                written += 1
                if mine == last:
                    return
            elif (chief.read_term() or term(mine)).number > mine:
                mine += 1

    _together(raise_terms, write_progress)
    history: list[Entry] = []
    with raw.watch(keys.prefix, begin + 1) as stream:
        for batch in stream:
            history += [change for change in batch.changes if isinstance(change, Entry)]
            if history and b'"number":' not in history[-1].value and f'"term":{last},'.encode() in history[-1].value:
                break
    raw.close()
    present, seen = 0, 0
    for entry in history:
        if entry.key == keys.term:
            present = TermRecord.model_validate_json(entry.value).number
        else:
            assert Progress.model_validate_json(entry.value).term == present
            seen += 1
    assert present == last
    assert seen == written > last


def test_what_a_view_says_about_the_term_does_not_fence_alone(
    shared: LocalEtcd, join: Join, keys: JobKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chief has not heard of term 2 yet: its view says 1, etcd says 2."""
    chief, operator = join(shared), join(shared)
    operator.raise_term(term(1))
    assert chief.until(lambda: chief.view().term is not None)
    old = chief._watcher.entry(keys.term)
    monkeypatch.setattr(chief._watcher, "entry", lambda key: old)
    assert chief.put_state(State(opened=1), 1)
    operator.raise_term(term(2))
    assert not chief.put_state(State(opened=1), 1)
    # And the other way round: the view is behind, etcd has the chief's term.
    assert chief.put_state(State(opened=2), 2)


def _together(*works: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
        assert not thread.is_alive()
