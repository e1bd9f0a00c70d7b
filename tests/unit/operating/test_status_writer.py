"""What of a status is written when, and what guards it."""

from dataclasses import dataclass

import pytest

from builders.versioned import Versioned
from deepseek_operator.api.status import JobStatus, MemberStatus, Recovery
from deepseek_operator.api.stored_status import read_status, stored
from deepseek_operator.kube import JOBS, Forbidden, Object, Unreachable
from deepseek_operator.loop import NotSaved, Stale
from deepseek_operator.status_writer import ProgressBudget, StatusWriter, settled
from deepseek_runtime.contract.records import Progress


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class Job:
    def __init__(self, jobs: int = 1, per_second: float = 20.0) -> None:
        self.server = Versioned()
        self.server.put(JOBS, {"metadata": {"name": "digits", "namespace": "ns", "generation": 1}, "spec": {}})
        self.clock = Clock()
        self.budget = ProgressBudget(per_second, lambda: jobs)
        self.writer = StatusWriter(self.server.api, self.stored(), self.budget, self.clock)

    def stored(self) -> Object:
        return self.server.objects["deepseekjobs", "digits"]

    def writes(self) -> int:
        return len(self.server.writes)


def at(step: int, **rest: object) -> JobStatus:
    return JobStatus(phase="Running", progress=Progress(term=1, step=step, steps=100)).model_copy(update=rest)


def test_round_trip_is_the_same_status() -> None:
    job = Job()
    status = at(7, members=(MemberStatus(role="worker", index=0, incarnation=3, phase="running", trained=4),))
    job.writer.save(status)
    assert read_status(job.stored()) == status
    assert StatusWriter(job.server.api, job.stored(), job.budget).save(status) is None
    assert job.writes() == 1


def test_progress_waits_for_its_interval_and_state_does_not() -> None:
    job = Job()
    job.writer.save(at(1))
    assert job.writer.save(at(2)) is None
    assert job.writer.save(at(3)) == pytest.approx(5.0)
    job.clock.now = 2.0
    assert job.writer.save(at(4)) == pytest.approx(3.0)
    assert job.writes() == 2
    assert job.writer.save(at(4, phase="Restarting")) is None
    assert read_status(job.stored()).progress == Progress(term=1, step=4, steps=100)
    job.clock.now = 5.0
    assert job.writer.save(at(9, phase="Restarting")) is None
    assert job.writes() == 4


def test_interval_grows_with_the_number_of_jobs() -> None:
    job = Job(jobs=1000)
    job.writer.save(at(1))
    job.writer.save(at(2))
    assert job.writer.save(at(3)) == pytest.approx(50.0)


def test_budget_of_all_jobs_is_shared() -> None:
    budget = ProgressBudget(2.0, lambda: 1)
    assert [budget.take() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    "other",
    [
        at(1, phase="Degraded"),
        at(1, members=(MemberStatus(role="worker", index=0, incarnation=0, phase="running", trained=1),)),
        at(1, progress=Progress(term=1, step=1, steps=100, events=("1 TermOpened term 1",))),
        at(1, progress=Progress(term=1, step=1, steps=100, checkpoint_problem="disk full")),
        at(1, restarts_total=1),
    ],
)
def test_what_is_no_mere_progress(other: JobStatus) -> None:
    first = at(1, members=(MemberStatus(role="worker", index=0, incarnation=0, phase="running"),))
    assert settled(first) != settled(other)


def test_what_is_mere_progress() -> None:
    member = MemberStatus(role="worker", index=0, incarnation=0, phase="running", trained=2)
    recovery = Recovery(role="worker", index=0, at_step=3)
    first = at(1, members=(member,), recoveries=(recovery,))
    later = at(
        50,
        members=(member.model_copy(update={"trained": 60}),),
        recoveries=(recovery.model_copy(update={"longest_gap": 1.0, "last_range": 2.0}),),
    )
    assert settled(first) == settled(later)


def test_status_written_by_another_is_stale_until_it_is_read() -> None:
    job = Job()
    job.writer.save(at(1))
    job.server.put(JOBS, job.stored() | {"status": stored(at(5))})
    with pytest.raises(Stale):
        job.writer.save(at(1, phase="Failed"))
    with pytest.raises(Stale):
        job.writer.save(at(1, phase="Failed"))
    assert job.writer.reload()
    assert job.writer.stored == at(5)
    assert job.writer.save(at(5, phase="Failed")) is None


def test_a_write_whose_fate_is_unknown_is_looked_at_before_the_next() -> None:
    job = Job()
    job.server.lands = True
    job.server.fail = [Unreachable("no answer")]
    with pytest.raises(NotSaved):
        job.writer.save(at(1))
    with pytest.raises(Stale):
        job.writer.save(at(2))
    job.writer.reload()
    assert job.writer.stored == at(1)


def test_a_write_that_was_refused_is_simply_tried_again() -> None:
    job = Job()
    job.server.fail = [Forbidden("no")]
    with pytest.raises(NotSaved, match="no"):
        job.writer.save(at(1))
    assert job.writer.save(at(1)) is None


def test_a_changed_spec_is_no_foreign_status() -> None:
    job = Job()
    job.writer.save(at(1))
    job.server.put(JOBS, job.stored() | {"spec": {"suspend": True}})
    assert not job.writer.foreign(job.stored())
    assert job.writer.save(at(1, phase="Draining")) is None
    job.server.put(JOBS, job.stored() | {"status": stored(at(7))})
    assert job.writer.foreign(job.stored())
    assert job.writer.stored == at(7)


def test_an_old_look_of_the_watch_changes_nothing() -> None:
    job = Job()
    before = job.stored()
    job.writer.save(at(1))
    assert not job.writer.foreign(before)
    assert job.writer.stored == at(1)


def test_gone_and_made_anew_is_another_job() -> None:
    job = Job()
    del job.server.objects["deepseekjobs", "digits"]
    assert not job.writer.reload()
    job.server.put(JOBS, {"metadata": {"name": "digits", "namespace": "ns", "uid": "other"}, "spec": {}})
    assert not job.writer.reload()
