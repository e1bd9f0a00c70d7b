"""What is done when losses are implausible, step by step, and undone when the run is calm. Pure: counts, no clock.

    calm -> precise -> held -> slow -> back

`precise`: float32 and values that are not rounded. `held`: ranges that are beyond are skipped. `slow`: smaller steps.
`back`: the newest checkpoint again. Every step keeps the ones before it; all end together after enough ranges in a row
that were fine, and the sooner the next trouble comes after that, the longer they last.
"""

from dataclasses import dataclass
from typing import Final, Literal

Step = Literal["calm", "precise", "held", "slow", "back"]
STEPS: Final[tuple[Step, ...]] = ("calm", "precise", "held", "slow", "back")
SLOWEST: Final = 0.125
"""Below that a step is too small to find back with."""
LONGEST: Final = 16
"""How many times `calm_ranges` the precautions last at most."""
DRIFTS: Final = 3
"""Runs of high losses, none of them beyond, after which it is the weights."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """What `training.guard` says of it."""

    calm_ranges: int = 32
    """Fine ranges in a row that end all precautions."""
    slow_after: int = 3
    """Implausible ranges until steps are made smaller; again after each roll-back, and each run of high losses."""
    slow_factor: float = 0.5
    back_after: int = 16
    """Ranges in a row beyond, not one of them fine, that mean that the weights are at fault."""
    backs: int = 2
    """Roll-backs of the whole job; 0: never."""


@dataclass(slots=True)
class Climb:
    """Where a run is on its ladder."""

    ladder: Ladder
    step: Step = "calm"
    lr: float = 1.0
    """What the learning rate is multiplied by."""
    backs: int = 0
    """Roll-backs asked for, in the whole job."""
    anomalies: int = 0
    """Since the run was last calm."""
    _row: int = 0
    """Ranges beyond since one was fine."""
    _drifts: int = 0
    _fine: int = 0
    _lasting: int = 1
    _since_calm: int | None = None
    _asked: bool = False

    @property
    def precise(self) -> bool:
        return self.step != "calm"

    def beyond(self, counts: int = 1) -> bool:
        """A range that is beyond, counting as so many in the row. True: it has gone on too long for a roll-back or
        anything else to help, so it is how losses are from now on (`accept`)."""
        self._trouble()
        self._row += counts
        if self.step == "precise" and self.anomalies > 1:
            self.step = "held"
        self._slower()
        if self._row >= self.ladder.back_after and self._may_go_back:
            self.step = "back"
        return self._row >= 4 * self.ladder.back_after

    def drift(self) -> None:
        """A run of ranges that were all somewhat high; they are in."""
        self._trouble()
        self._drifts += 1
        if self.anomalies > 1 and self.step != "back":
            self._slow()
        if self._drifts >= DRIFTS and self._may_go_back:
            self.step = "back"

    def fine(self) -> bool:
        """A range as it should be. True: calm again, everything is undone."""
        self._row = 0
        if self.step == "calm":
            if self._since_calm is not None:
                self._since_calm += 1
                if self._since_calm >= self._length:
                    self._since_calm, self._lasting = None, 1
            return False
        self._fine += 1
        if self._fine < self._length:
            return False
        self._end()
        return True

    def accept(self) -> None:
        """As if it were calm: what is implausible is learnt anew."""
        self._end()
        self._row = 0

    def ask_back(self) -> None:
        """Once in a term. Nobody may be there to carry it out, so all else goes on."""
        self.backs += 1
        self._asked = True

    def resume(self, step: Step, lr: float, backs: int, anomalies: int) -> None:
        """In a next term: the precautions go on as if they began. After a roll-back steps are smaller, or it would go
        the same way again."""
        self.step, self.lr, self.backs, self.anomalies = step, lr, backs, anomalies
        if step == "back":
            self.anomalies = 0
            self._slow()

    @property
    def going_back(self) -> bool:
        """The roll-back has been asked for, and not too long ago for it to come."""
        return self._asked and self._row < 4 * self.ladder.back_after

    @property
    def _length(self) -> int:
        return self.ladder.calm_ranges * self._lasting

    @property
    def _may_go_back(self) -> bool:
        return self.step != "back" and not self._asked and self.backs < self.ladder.backs

    def _trouble(self) -> None:
        self.anomalies += 1
        self._fine = 0
        if self.step == "calm":
            if self._since_calm is not None:
                self._lasting = min(LONGEST, self._lasting * 2)
            self.step, self._since_calm = "precise", None

    def _slower(self) -> None:
        """Once: ranges that are held back do no harm, however many they are."""
        if self.anomalies == self.ladder.slow_after and self.step != "back":
            self._slow()

    def _slow(self) -> None:
        self.step = "slow"
        self.lr = max(SLOWEST, self.lr * self.ladder.slow_factor)

    def _end(self) -> None:
        self.step, self.lr, self.anomalies = "calm", 1.0, 0
        self._drifts = self._fine = 0
        self._since_calm = 0
