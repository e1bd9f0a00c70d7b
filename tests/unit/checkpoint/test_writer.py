"""The writer's thread: in order, bounded, and every error ends in a callback."""

import queue
import threading

import pytest

from deepseek_runtime.checkpoint.memory import MemoryStore
from deepseek_runtime.checkpoint.store import Kind, Store, StoreError, retrying
from deepseek_runtime.checkpoint.writer import Writer
from faults.full_disk import FullStore

STORE = MemoryStore("memory://writer")


class Flaky:
    """A job that fails `times` times."""

    def __init__(self, kind: Kind, times: int) -> None:
        self.kind, self.times, self.calls = kind, times, 0

    def __call__(self, store: Store) -> int:
        self.calls += 1
        if self.calls <= self.times:
            raise StoreError(self.kind, "no")
        return self.calls


def run(job: Flaky, tries: int = 4) -> object:
    results: queue.Queue[object] = queue.Queue()
    writer = Writer(STORE, tries=tries, first_pause=0.0)
    assert writer.submit(job, results.put)
    assert writer.close(timeout=20)
    return results.get(timeout=1)


def test_jobs_are_done_in_order() -> None:
    results: list[object] = []
    writer = Writer(STORE)
    for number in range(5):
        assert writer.submit(lambda store, number=number: number, results.append)  # type: ignore[misc]
    assert writer.close(timeout=20)
    assert results == [0, 1, 2, 3, 4]
    assert not writer.submit(lambda store: 5, results.append)
    assert writer.close(timeout=0)


def test_an_unreachable_store_is_tried_again() -> None:
    assert run(Flaky("unreachable", 3)) == 4


@pytest.mark.parametrize("kind, calls", [("unreachable", 4), ("full", 1), ("denied", 1), ("damaged", 1)])
def test_what_stays_wrong_is_told(kind: Kind, calls: int) -> None:
    job = Flaky(kind, 100)
    result = run(job)
    assert isinstance(result, StoreError)
    assert result.kind == kind
    assert job.calls == calls


def test_a_mistake_in_a_job_is_told_and_the_thread_lives_on() -> None:
    results: list[object] = []
    writer = Writer(STORE)
    writer.submit(lambda store: 1 // 0, results.append)
    writer.submit(lambda store: "next", results.append)
    assert writer.close(timeout=20)
    assert isinstance(results[0], StoreError)
    assert results[0].kind == "failed"
    assert "ZeroDivisionError" in str(results[0])
    assert results[1] == "next"


def test_a_full_queue_refuses_and_never_blocks() -> None:
    begun, go_on = threading.Event(), threading.Event()
    results: list[object] = []

    def slow(store: Store) -> str:
        begun.set()
        go_on.wait(20)
        return "slow"

    writer = Writer(STORE, waiting=2)
    assert writer.submit(slow, results.append)
    assert begun.wait(20)
    assert [writer.submit(lambda store: "next", results.append) for _ in range(4)] == [True, True, False, False]
    go_on.set()
    assert writer.close(timeout=20)
    assert results == ["slow", "next", "next"]


def test_close_gives_up_what_is_not_done_in_time() -> None:
    results: queue.Queue[object] = queue.Queue()
    writer = Writer(STORE, tries=100, first_pause=60.0)
    writer.submit(Flaky("unreachable", 100), results.put)
    writer.submit(lambda store: "never", results.put)
    assert not writer.close(timeout=0.0)
    for _ in range(2):
        result = results.get(timeout=20)
        assert isinstance(result, StoreError)
        assert result.kind == "unreachable"


def test_pauses_grow_to_a_limit_with_jitter() -> None:
    pauses: list[float] = []
    jitters = iter([0.0, 1.0, 0.5, 1.0])
    with pytest.raises(StoreError):
        retrying(
            lambda: Flaky("unreachable", 9)(STORE),
            wait=pauses.append,
            tries=5,
            first=1.0,
            longest=3.0,
            jitter=lambda: next(jitters),
        )
    assert pauses == [0.5, 2.0, 2.25, 3.0]


def test_room_made_is_room_used() -> None:
    store = FullStore(MemoryStore("memory://full"), room=3)
    with pytest.raises(StoreError):
        store.put("x", b"1234")
    store.room = 4
    store.put("x", b"1234")
    assert store.get("x") == b"1234"
