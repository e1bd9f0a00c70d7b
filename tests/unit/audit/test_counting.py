"""What the audit says of a job whose journals and checkpoints were written by hand."""

from collections.abc import Callable

import pytest

from builders.journals import PLAN, JournaledJob
from deepseek_runtime.audit import Audit, CannotCount, count
from deepseek_runtime.checkpoint.index import write_base
from deepseek_runtime.protocol.lineage import Base, Step
from deepseek_runtime.ranges import RangePlan


def plan_of(samples: int) -> RangePlan:
    assert samples == PLAN.samples
    return PLAN


def audited(job: JournaledJob, complete: bool | None = None) -> Audit:
    return count(job.folder, job.store, plan_of, complete)


def finish(job: JournaledJob, *, without: tuple[int, ...] = ()) -> Audit:
    """Pushes what the state does not have, then the last checkpoint."""
    for g in range(PLAN.count):
        spans = [span for span, inside in job.spans.items() if g not in [*inside.pushed, *inside.skipped]]
        if g not in without and spans:
            job.push(g, spans)
    job.save(PLAN.steps)
    return audited(job)


def test_a_run_without_faults(job: JournaledJob) -> None:
    result = finish(job)
    assert result == Audit(
        samples_total=160,
        samples_lost=0,
        samples_repeated=0,
        samples_rolled_back=0,
        samples_skipped=0,
        residual_lost=4 * 0.5,
        pushed=4 * 20.0,
        wire_bytes=job.wire_truth,
        ranges=20,
        pushes=20,
        terms=1,
    )
    assert result.exact


Act = Callable[[JournaledJob], object]


def push(g: int, *spans: int) -> Act:
    """On all spans unless some are named."""
    return lambda job: job.push(g, spans or None)


def skip(g: int, *spans: int) -> Act:
    return lambda job: job.skip(g, spans or None)


def save(step: int) -> Act:
    return lambda job: job.save(step)


def copy(span: int) -> Act:
    return lambda job: job.copy(span)


def back_to(term: int, step: int) -> Act:
    return lambda job: job.restore(Step(term, step))


def go_on(job: JournaledJob) -> None:
    job.go_on()


def kill(job: JournaledJob) -> None:
    job.kill(1)


def zombie(job: JournaledJob) -> None:
    """A server of the first term applies one more."""
    job.write(0, {"g": 9, "worker": "worker-7-0", "sequence": 1, "term": 1, "spans": [[0, 1, 2]]})


STORIES: dict[str, tuple[list[Act], tuple[int, ...], dict[str, float]]] = {
    "no span has it": ([], (3,), {"samples_lost": 8}),
    "one span lacks it: lost once": ([push(3, 0, 2, 3), push(4, 0)], (3, 4), {"samples_lost": 16}),
    "applied twice, three times on span 1": ([push(3), push(3, 1), push(3, 1, 2)], (), {"samples_repeated": 16}),
    "skipped": ([skip(5)], (), {"samples_skipped": 8}),
    "half pushed and half skipped": ([push(5, 0, 1), skip(5, 2, 3)], (), {"samples_lost": 8}),
    "rolled back, and done again": (
        [push(0), save(2), push(1), push(2), kill, back_to(1, 2), push(2)], (),
        {"samples_rolled_back": 16, "terms": 2, "pushes": 22, "residual_lost": 4 * (0.5 + 0.5)},
    ),
    "rolled back, and not done again": (
        [push(0), save(2), push(1), back_to(1, 2)], (1,), {"samples_rolled_back": 8, "samples_lost": 8, "terms": 2},
    ),
    "rolled back twice to one checkpoint": (
        [push(0), save(2), push(1), back_to(1, 2), push(1), back_to(1, 2)], (),
        {"samples_rolled_back": 16, "terms": 3},
    ),
    # Span 0 was copied before range 1, the others after: after the restore it alone needs it again. Rolled back are 1
    # on span 0 and 3 everywhere; 2 was on no span that lost it.
    "parts of different instants": (
        [push(0), copy(0), push(1), push(2, 1, 2), save(4), push(3), back_to(1, 4), push(1, 0), push(2, 0, 3)], (),
        {"samples_rolled_back": 16, "terms": 2},
    ),
    # Spans 1 to 3 have range 1 from the checkpoint.
    "done again where it was not lost": (
        [push(0), copy(0), push(1), save(4), back_to(1, 4), push(1)], (),
        {"samples_repeated": 8, "samples_rolled_back": 8, "terms": 2},
    ),
    "late pushes on a line that was given up": (
        [push(0), save(2), back_to(1, 2), zombie], (), {"samples_rolled_back": 8, "terms": 2},
    ),
    "continued terms keep their line": (
        [push(0), go_on, push(1), save(4), push(2), back_to(2, 4), push(3), go_on, go_on], (),
        {"samples_rolled_back": 8, "terms": 5},
    ),
}  # fmt: skip


@pytest.mark.parametrize("acts,without,counted", STORIES.values(), ids=STORIES)
def test_a_story_and_what_is_counted_of_it(
    job: JournaledJob, acts: list[Act], without: tuple[int, ...], counted: dict[str, float]
) -> None:
    for act in acts:
        act(job)
    result = finish(job, without=without)
    nothing = {"samples_lost": 0, "samples_repeated": 0, "samples_rolled_back": 0, "samples_skipped": 0, "terms": 1}
    expected = {**nothing, "wire_bytes": job.wire_truth, "problems": (), **counted}
    assert {name: getattr(result, name) for name in expected} == expected
    assert result.exact == (counted.keys().isdisjoint({"samples_lost", "samples_repeated"}))


def test_a_range_of_the_epochs_end_counts_its_own_samples(job: JournaledJob) -> None:
    plan = RangePlan(samples=38, batch_size=4, local_steps=2, steps=10)
    for g in range(4):
        job.push(g)
    job.save(10)
    result = count(job.folder, job.store, lambda samples: plan)
    assert (result.samples_total, result.samples_lost) == (38, 6)


def test_a_roll_back_that_was_none(job: JournaledJob) -> None:
    """Span 1 kept range 0 where all should have gone back, so nobody did it again there: not on its line, so lost."""
    job.push(0)
    job.restore(Step(1, 0))
    job.spans[1].pushed = [0]
    assert finish(job).samples_lost == 8


def test_a_term_that_restored_and_never_opened(job: JournaledJob) -> None:
    """Term 2's roll-back was not carried out; term 3 found all spans and went on with term 1's."""
    job.push(0)
    job.save(2)
    job.push(1)
    write_base(job.store, 2, Base(restored=Step(1, 2)))
    job.term = 2
    job.go_on(of=1)
    result = finish(job)
    assert (result.samples_lost, result.samples_repeated, result.samples_rolled_back) == (0, 0, 0)


def test_deleted_checkpoints_are_not_needed(job: JournaledJob) -> None:
    job.push(0)
    job.save(2)
    job.push(1)
    job.restore(Step(1, 2))
    job.push(2)
    job.save(4)
    job.push(3)
    job.restore(Step(2, 4))
    job.save(6)
    job.clean(1)
    assert set(job.saved) == {(3, 6)}
    result = finish(job)
    assert (result.samples_lost, result.samples_repeated, result.samples_rolled_back) == (0, 0, 16)


def test_the_store_says_what_the_journals_do_not(job: JournaledJob) -> None:
    job.push(0)
    job.save(2)
    job.push(1)
    job.restore(Step(1, 2), told=False)
    assert finish(job).samples_rolled_back == 8
    job.clean(1)
    with pytest.raises(CannotCount, match="term 2 began from step 2 of term 1"):
        audited(job)


def test_a_job_that_still_runs(job: JournaledJob) -> None:
    """Nothing is missing that was not to be there yet."""
    job.push(0)
    job.push(2)
    job.save(4)
    job.push(4, [0])
    result = audited(job)
    assert (result.samples_total, result.samples_lost, result.ranges) == (16, 0, 2)
    assert audited(job, complete=True).samples_lost == 18 * 8


def test_what_a_living_worker_holds_is_not_lost(job: JournaledJob) -> None:
    job.push(0)
    job.save(2)
    running = count(job.folder, job.store, plan_of, live=["worker-0-0", "worker-1-0"])
    replaced = count(job.folder, job.store, plan_of, live=["worker-0-1"])
    assert (running.residual_lost, replaced.residual_lost, audited(job).residual_lost) == (0.0, 2.0, 2.0)


def test_a_state_that_has_what_was_never_pushed(job: JournaledJob) -> None:
    job.push(0, told=False)
    job.save(2)
    result = audited(job)
    assert result.samples_lost == 8
    assert "span 0 counts 1 pushes, its journal 0" in result.problems[0]


def test_a_checkpoint_that_lacks_what_was_pushed(job: JournaledJob) -> None:
    job.push(0)
    for inside in job.spans.values():
        inside.pushed.clear()
    job.save(2)
    assert any("range 0 was pushed to span 0, and is not in it" in problem for problem in audited(job).problems)


def test_torn_lines_and_missing_ones(job: JournaledJob) -> None:
    job.push(0)
    job.push(1)
    job.kill(0, torn=True)
    job.restore(Step(1, 0))
    result = finish(job)
    assert result.exact
    assert result.wire_bytes == job.wire_truth
    lines = job.file(1).read_text().splitlines(keepends=True)
    job.file(1).write_text("".join(lines[:8] + lines[9:]) + '{"me":1,"wi')
    result = audited(job)
    assert result.samples_lost == 8
    assert any("has 19 of 20 pushes" in problem for problem in result.problems)


def test_restored_from_another_job(job: JournaledJob) -> None:
    """Its ranges 0 and 1 were trained there, and are neither lost here nor counted."""
    job.push(0)
    job.push(1)
    job.save(4)
    job.term = 7
    for inside in job.spans.values():
        inside.line, inside.ordinal = 7, 0
    job.file(0).unlink()
    job.file(1).unlink()
    job.store.delete_tree("t1/base.json")
    job.begin(Step(1, 4), foreign=True)
    job.save(4)
    write_base(job.store, 7, Base(restored=Step(7, 4)))
    job.store.delete_tree("t1")
    result = finish(job)
    assert (result.samples_total, result.samples_lost, result.samples_repeated) == (144, 0, 0)
    assert result.problems == ()
    job.push(1)
    assert audited(job).samples_repeated == 8


def test_no_checkpoint_no_count(job: JournaledJob) -> None:
    job.store.delete_tree("t1")
    with pytest.raises(CannotCount, match="holds no checkpoint"):
        audited(job)
