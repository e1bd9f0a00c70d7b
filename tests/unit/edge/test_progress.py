"""What the chief tells etcd: before a term opens, when it has opened, and once ranges are done in it."""

from types import SimpleNamespace
from typing import Any, cast

from deepseek_runtime.contract.config import Checkpoint, JobConfig, Training
from deepseek_runtime.edge.progress import Reporter
from deepseek_runtime.protocol.effects import Note
from deepseek_runtime.protocol.tracking import Tracking
from deepseek_runtime.ranges import RangePlan

CONFIG = JobConfig(
    job="digits", uid="u", etcd=("127.0.0.1:1",), training=Training(steps=80), checkpoint=Checkpoint(uri="file:///x")
)


def chief(number: int, tracking: Tracking | None = None) -> Any:
    """One whose term has opened, if it is given a tracking."""
    opened = tracking is not None
    return cast(
        Any,
        SimpleNamespace(
            number=number,
            tracking=tracking or Tracking(),
            workers=SimpleNamespace(live=[]),
            guarding=SimpleNamespace(state=None),
            opened=SimpleNamespace(space=SimpleNamespace(parameters=10)) if opened else None,
            saving=SimpleNamespace(last=(1, 0), last_time=None) if opened else None,
            ledger=SimpleNamespace(steps_done=16, plan=RangePlan(160, 8, 8, 80), samples_skipped=0, done=[0, 1])
            if opened
            else None,
        ),
    )


def test_a_term_that_has_only_opened_has_done_no_range() -> None:
    """A recovery is over when the replacement has worked."""
    reporter, first = Reporter(CONFIG), Tracking()
    first.opened(now=100.0)
    first.done(now=101.0)
    earlier = reporter.record(chief(1, first), now=103.0, wall=1003.0)
    assert earlier is not None
    assert earlier.last_range_time == 1001.0

    reporter.adopt(earlier)
    second = Tracking()
    second.opened(now=110.0)
    only_opened = reporter.record(chief(2, second), now=111.0, wall=1011.0)
    assert only_opened is not None
    assert (only_opened.term, only_opened.last_range_time) == (2, 1001.0)
    second.done(now=112.5)
    worked = reporter.record(chief(2, second), now=113.0, wall=1013.0)
    assert worked is not None
    assert worked.last_range_time == 1012.5
    assert worked.longest_gap == 2.5


def test_what_keeps_a_term_from_opening_is_told_once_and_forgotten() -> None:
    reporter = Reporter(CONFIG)
    assert reporter.record(chief(1), now=1.0, wall=1.0) is None
    reporter.note(Note("StoreUnreachable", "term 1 cannot open: no route", True))
    told = reporter.record(chief(1), now=1.0, wall=1.0)
    assert told is not None
    assert (told.step, told.opening_problem) == (0, "term 1 cannot open: no route")
    assert told.events == ("1 StoreUnreachable term 1 cannot open: no route",)
    assert reporter.record(chief(1), now=2.0, wall=2.0) is None
    reporter.note(Note("TermOpened", "term 1: 2 servers"))
    opened = reporter.record(chief(1, Tracking()), now=3.0, wall=3.0)
    assert opened is not None
    assert opened.opening_problem == ""


def test_a_checkpoint_that_failed_is_a_problem_until_one_is_saved() -> None:
    reporter = Reporter(CONFIG)

    def problem() -> str:
        record = reporter.record(chief(1, Tracking()), now=1.0, wall=1.0)
        assert record is not None
        return record.checkpoint_problem

    reporter.note(Note("CheckpointFailed", "no space", True))
    assert problem() == "no space"
    after_a_kill = Reporter(CONFIG)
    after_a_kill.adopt(reporter.record(chief(1, Tracking()), now=1.0, wall=1.0))
    assert after_a_kill.checkpoint_problem == "no space"
    reporter.note(Note("CheckpointSaved", "step 8"))
    assert problem() == ""


def test_a_chief_that_takes_over_from_itself_tells_nothing_twice() -> None:
    """Also where etcd did not have its last messages."""
    reporter = Reporter(CONFIG)
    for step in (500, 1000):
        reporter.note(Note("CheckpointSaved", f"step {step}"))
    known = reporter.record(chief(1, Tracking()), now=1.0, wall=1.0)
    assert known is not None
    reporter.note(Note("CheckpointSaved", "step 1500"))
    reporter.adopt(known)
    reporter.note(Note("TermOpened", "term 2"))
    record = reporter.record(chief(2, Tracking()), now=2.0, wall=2.0)
    assert record is not None
    assert record.events == (
        "1 CheckpointSaved step 500", "2 CheckpointSaved step 1000", "3 CheckpointSaved step 1500",
        "4 TermOpened term 2",
    )  # fmt: skip
