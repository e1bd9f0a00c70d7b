"""What servers with backups write down: each push twice, and a line where a span went on with another server."""

from pathlib import Path

from builders.journals import PLAN, JournaledJob
from deepseek_runtime.audit import Audit, count
from deepseek_runtime.checkpoint.memory import MemoryStore


def counted(job: JournaledJob, folder: Path) -> Audit:
    return count(folder, job.store, lambda samples: PLAN)


def whole(folder: Path) -> JournaledJob:
    return JournaledJob(folder, MemoryStore(f"memory://{folder}"), backup=True)


def test_a_lost_server_costs_nothing(tmp_path: Path) -> None:
    job = whole(tmp_path)
    for g in range(6):
        job.push(g)
    job.fail_over(1, 6, again=True)
    job.push(6, spans={0, 2})
    for g in range(7, PLAN.count):
        job.push(g)
    job.save(PLAN.steps)
    found = counted(job, tmp_path)
    assert found.exact
    assert (found.samples_rolled_back, found.ranges, found.pushes) == (0, 20, 21)


def test_what_nobody_pushed_again_was_given_up(tmp_path: Path) -> None:
    job = whole(tmp_path)
    job.push(0)
    job.fail_over(0, 1, again=False)
    for g in range(1, PLAN.count):
        job.push(g)
    job.save(PLAN.steps)
    found = counted(job, tmp_path)
    assert found.exact
    assert found.samples_rolled_back == PLAN.samples_of(1)


def test_the_owners_journal_may_be_lost(tmp_path: Path) -> None:
    job = whole(tmp_path)
    for g in range(PLAN.count):
        job.push(g)
    job.save(PLAN.steps)
    job.file(1).unlink()
    assert counted(job, tmp_path).exact


def test_two_histories_of_a_span_are_a_problem(tmp_path: Path) -> None:
    job = whole(tmp_path)
    for g in range(PLAN.count):
        job.push(g)
    job.save(PLAN.steps)
    job.tell(0, 5, 99, [[0, 1, 3]])
    assert "span 0, line 1: two pushes are number 3" in counted(job, tmp_path).problems
