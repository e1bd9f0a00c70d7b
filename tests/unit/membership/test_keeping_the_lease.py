"""The registrar against a scripted etcd: what it asks, and what it makes of the answers."""

import queue
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.contract.records import Registration
from deepseek_runtime.membership import View
from deepseek_runtime.membership.connection import Connection, Entry, Unavailable
from deepseek_runtime.membership.registering import Registrar

KEYS = JobKeys("/j/")
MINE = Registration(incarnation=1)


class Script:
    """Says what was asked of it; `answers` override what a healthy etcd would say, one after the other."""

    def __init__(self) -> None:
        self.asked: queue.Queue[str] = queue.Queue()
        self.answers: dict[str, list[Any]] = {}
        self.leases = 0

    def grant(self, ttl: int) -> int:
        self.leases += 1
        return int(self._say("grant", self.leases))

    def keep_alive(self, lease: int) -> bool:
        return bool(self._say(f"keep {lease}", True))

    def revoke(self, lease: int) -> None:
        self._say(f"revoke {lease}", None)

    def put(
        self, key: str, value: bytes, conditions: Sequence[Any] = (), *, lease: int = 0
    ) -> tuple[bool, Entry | None]:
        assert key == KEYS.member("server", 0)
        done, entry = self._say(f"put {Registration.model_validate_json(value).state} {lease}", (True, None))
        return bool(done), entry

    def _say(self, what: str, healthy: Any) -> Any:
        self.asked.put(what)
        waiting = self.answers.get(what.split()[0])
        answer = waiting.pop(0) if waiting else healthy
        if isinstance(answer, Exception):
            raise answer
        return answer

    def next(self, count: int) -> list[str]:
        return [self.asked.get(timeout=10.0) for _ in range(count)]

    def until(self, what: str) -> None:
        while self.asked.get(timeout=10.0) != what:
            pass


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def registrar(script: Script) -> Iterator[Registrar]:
    registrar = Registrar(cast("Connection", script), KEYS, ttl=0.09, tick=lambda: None, every=0.02)
    yield registrar
    registrar.close()
    registrar.join(10.0)


def begin(registrar: Registrar) -> None:
    registrar.register("server", 0, MINE)
    registrar.start()


def test_it_is_renewed_again_and_again(registrar: Registrar, script: Script) -> None:
    begin(registrar)
    assert script.next(6) == ["grant", "put ready 1", *["keep 1"] * 4]


def test_a_lease_that_etcd_does_not_know_is_made_anew_with_its_key(registrar: Registrar, script: Script) -> None:
    script.answers["keep"] = [True, False]
    begin(registrar)
    assert script.next(7) == ["grant", "put ready 1", "keep 1", "keep 1", "grant", "put ready 2", "keep 2"]


def test_an_outage_of_any_length_is_waited_out(registrar: Registrar, script: Script) -> None:
    script.answers = {"grant": [Unavailable("away")], "keep": [Unavailable("away")], "put": [Unavailable("away")]}
    begin(registrar)
    assert script.next(7) == ["grant", "grant", "put ready 2", "keep 2", "keep 2", "put ready 2", "keep 2"]


def test_a_lower_incarnation_is_replaced_and_what_nobody_can_read_too(registrar: Registrar, script: Script) -> None:
    lower = Entry(KEYS.member("server", 0), b'{"incarnation": 0}', 1, 1)
    script.answers["put"] = [(False, lower), (False, replace(lower, value=b"{")), (False, None)]
    begin(registrar)
    assert script.next(5) == ["grant", *["put ready 1"] * 4]
    assert not registrar.superseded


def test_a_higher_incarnation_ends_it(registrar: Registrar, script: Script) -> None:
    script.answers["put"] = [(False, Entry(KEYS.member("server", 0), b'{"incarnation": 2}', 1, 1))]
    begin(registrar)
    assert script.next(3) == ["grant", "put ready 1", "revoke 1"]
    assert registrar.superseded
    registrar.register("server", 0, MINE.model_copy(update={"state": "draining"}))
    registrar.close()
    registrar.join(10.0)
    assert script.asked.empty()


def test_a_key_that_came_and_went_in_one_change_is_written_again(registrar: Registrar, script: Script) -> None:
    begin(registrar)
    script.until("put ready 1")
    registrar.seen(View(), View(emptied=0))
    script.until("put ready 1")
