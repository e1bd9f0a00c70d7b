"""The watch's own decisions, without etcd: whom it asks for a sign of life, and what it tells. Time is the test's."""

import time
from typing import cast

import pytest

from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.membership import View
from deepseek_runtime.membership.connection import Batch, Connection, Entry, Listing, WatchStream
from deepseek_runtime.membership.watching import Watcher


class Stream:
    def __init__(self) -> None:
        self.asked = 0
        self.cancelled = False

    def ask(self) -> None:
        self.asked += 1

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_asked_when_quiet_and_cancelled_when_it_owes_an_answer(clock: list[float]) -> None:
    watcher = Watcher(
        Connection(["h:1"], 1.0), JobKeys("/j/"), patience=2.0, outage=9.0, changed=lambda before, after: None
    )
    stream = Stream()
    watcher._stream = cast("WatchStream", stream)

    def after(seconds: float, *, heard: bool = False) -> tuple[int, bool]:
        clock[0] += seconds
        if heard:
            watcher._heard = clock[0]
        watcher.check()
        return stream.asked, stream.cancelled

    assert after(0.9) == (0, False)
    assert after(0.2) == (1, False)
    assert after(1.9) == (1, False), "asked once, with some time to answer"
    assert after(0.0, heard=True) == (1, False)
    assert after(1.1) == (2, False), "and again when it is quiet again"
    assert after(2.1) == (2, True)


def test_a_key_that_comes_and_goes_in_one_answer_is_told(clock: list[float]) -> None:
    told: list[tuple[View, View]] = []
    watcher = Watcher(
        Connection(["h:1"], 1.0),
        JobKeys("/j/"),
        patience=2.0,
        outage=9.0,
        changed=lambda before, after: told.append((before, after)),
    )
    watcher._adopt(Listing(1, 1, ()), emptied=False)
    watcher._apply(Batch(1, 3, (Entry("/j/members/server/0", b'{"incarnation": 1}', 2, 2), "/j/members/server/0"), 3))
    assert len(told) == 2
    assert told[1][0] == told[1][1]
