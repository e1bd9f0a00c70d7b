"""The queue, and what a round does when a write fails."""

from dataclasses import dataclass, field

import pytest

from builders.world import World
from deepseek_operator.api.status import JobEvent, JobStatus
from deepseek_operator.loop import Queue, Round, Stale
from deepseek_operator.reconcile.observe import MemberSeen, Now, Obstacle
from deepseek_operator.reconcile.plan import Plan
from deepseek_runtime.contract.records import Command, Progress, TermRecord
from deepseek_runtime.membership import Unavailable, View


def test_a_key_is_due_once_at_the_earliest_time_asked_for() -> None:
    queue = Queue()
    queue.add("a", 60.0)
    queue.add("b")
    queue.add("a")
    queue.add("a", 30.0)
    assert {queue.get(0.0), queue.get(0.0)} == {"a", "b"}
    assert queue.get(0.0) is None


def test_later_comes_when_it_is_due() -> None:
    queue = Queue()
    queue.add("a", 0.02)
    assert queue.get(0.0) is None
    assert queue.get(10.0) == "a"


@dataclass
class Place:
    """An executor, an etcd and a disk over one model world; `full` and `silent` make their writes fail."""

    world: World
    full: bool = False
    silent: bool = False
    saved: list[JobStatus] = field(default_factory=list)
    progress: list[tuple[Progress, int]] = field(default_factory=list)

    def observe(self) -> tuple[MemberSeen, ...]:
        return self.world.seen().members

    def obstacle(self) -> Obstacle | None:
        return self.world.obstacle

    def apply(self, plan: Plan) -> None:
        view = self.world.view
        self.world.apply(plan)
        self.world.view = view  # etcd is written by the round

    def close(self) -> None: ...

    def view(self) -> View:
        known = self.world.view
        return View(
            term=known.term, registrations=known.registrations, state=known.state, progress=known.progress,
            requests=known.requests, commands=known.commands, listed_at=known.listed_at,
        )  # fmt: skip

    def raise_term(self, record: TermRecord) -> bool:
        if self.silent:
            raise Unavailable("etcd is silent")
        assert self.saved[-1].term.number >= record.number, "the status comes first"
        self.world.view = type(self.world.view)(
            term=record, registrations=self.world.view.registrations, listed_at=self.world.view.listed_at
        )
        return True

    def put_command(self, id: str, command: Command) -> bool:
        return True

    def put_progress(self, progress: Progress, term: int) -> bool:
        self.progress.append((progress, term))
        return True

    def drop_command(self, id: str) -> bool:
        return True

    def drop_request(self, id: str) -> bool:
        return True

    def save(self, status: JobStatus) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.saved.append(status)

    def round(self) -> Round:
        now = self.world.seen().now
        return Round(self, self, self.save, JobStatus(), now=lambda: Now(now.wall, now.monotonic))


def test_rounds_lead_to_a_term_and_then_to_rest() -> None:
    place = Place(World())
    rounds = place.round()
    assert rounds.once(place.world.intent)[1] == 0.0
    place.world.register()
    while rounds.once(place.world.intent)[1] == 0.0:
        pass
    assert place.world.view.term is not None
    saved = len(place.saved)
    rounds.once(place.world.intent)
    assert len(place.saved) == saved, "nothing has changed, nothing is written"


def test_sums_of_before_are_put_back_into_an_etcd_that_began_empty() -> None:
    place = Place(World())
    rounds = place.round()
    rounds.status = JobStatus(progress=Progress(term=1, step=7, steps=9, wire_bytes=100))
    place.world.register()
    while rounds.once(place.world.intent)[1] == 0.0:
        place.world.register()
    assert [(progress.wire_bytes, term) for progress, term in place.progress] == [(100, 1)]


def test_full_disk_replaces_members_but_raises_no_term() -> None:
    place = Place(World(), full=True)
    rounds = place.round()
    assert rounds.once(place.world.intent)[1] == pytest.approx(1.0)
    assert len(place.world.members) == 5
    place.world.register()
    rounds.once(place.world.intent)
    assert place.world.view.term is None
    place.full = False
    rounds.once(place.world.intent)
    rounds.once(place.world.intent)
    assert place.world.view.term is not None


def test_silent_etcd_is_tried_again() -> None:
    place = Place(World(), silent=True)
    rounds = place.round()
    rounds.once(place.world.intent)
    place.world.register()
    assert rounds.once(place.world.intent)[1] == pytest.approx(1.0)
    assert rounds.status.term.number == 1
    place.silent = False
    rounds.once(place.world.intent)
    assert place.world.view.term is not None
    assert place.world.view.term.number == 1


class Savers:
    """A saver as in a cluster: progress may wait, and another may have written before."""

    def __init__(self) -> None:
        self.wait: float | None = None
        self.stale = False
        self.asked: list[JobStatus] = []
        self.told: list[str] = []

    def save(self, status: JobStatus) -> float | None:
        self.asked.append(status)
        if self.stale:
            raise Stale("another has written")
        return self.wait

    def tell(self, events: tuple[JobEvent, ...]) -> None:
        self.told += [event.reason for event in events]


def test_what_may_wait_is_asked_for_again_and_keeps_nothing_else_waiting() -> None:
    place, saver = Place(World()), Savers()
    rounds = place.round()
    rounds.save, rounds.tell = saver.save, saver.tell
    saver.wait = 3.0
    assert rounds.once(place.world.intent)[1] == 0.0
    assert len(place.world.members) == 5
    while (due := rounds.once(place.world.intent)[1]) == 0.0:
        pass
    assert due == pytest.approx(3.0)
    saver.wait = None
    asked = len(saver.asked)
    rounds.once(place.world.intent)
    rounds.once(place.world.intent)
    assert len(saver.asked) == asked + 1


def test_stale_status_carries_nothing_out_and_says_nothing() -> None:
    place, saver = Place(World()), Savers()
    rounds = place.round()
    rounds.save, rounds.tell = saver.save, saver.tell
    saver.stale = True
    with pytest.raises(Stale):
        rounds.once(place.world.intent)
    assert (place.world.members, saver.told, rounds.status) == ({}, [], JobStatus())
    saver.stale = False
    rounds.once(place.world.intent)
    assert saver.told == ["Created"]
    assert rounds.status.events == ()
