"""When a job has nothing finite left: single skipped ranges are an event, nothing but skipped ones is its end."""

from dataclasses import dataclass

from deepseek_runtime.contract import exit_codes
from deepseek_runtime.protocol.effects import Fail
from deepseek_runtime.ranges import RangePlan

IN_A_ROW = 10
"""Ranges skipped without a push between them; all of a job that has fewer."""


@dataclass(slots=True)
class SkipsInARow:
    """A chief's count; that of the next one begins anew."""

    plan: RangePlan
    given_up: bool = False
    """The job has failed: nothing more is leased, and it must not count as finished."""
    _count: int = 0
    _first: int = 0
    _reason: str = ""

    def pushed(self, g: int) -> None:
        """Range g was trained. One before the row was only slower than its neighbours."""
        if g > self._first:
            self._count = 0

    def skipped(self, g: int, reason: str) -> list[Fail]:
        """The user's mistake (65), once, when it is one too many."""
        if self._count == 0 or g < self._first:
            self._first, self._reason = g, reason
        self._count += 1
        if self.given_up or self._count < min(IN_A_ROW, self.plan.count):
            return []
        self.given_up = True
        text = (
            f"nothing could be trained from step {self.plan.first_step(self._first)} on: {self._reason}; {self._count} "
            "ranges in a row were skipped. Lower training.optimizer.lr, set training.optimizer.clipNorm, or look at "
            "the loss and the data at that step"
        )
        return [Fail(exit_codes.USER_CODE, "NothingFinite", text)]
