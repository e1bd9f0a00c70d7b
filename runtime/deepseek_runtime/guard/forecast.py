"""Where a series of losses is heading: level, trend and spread that a few wild values cannot move.

Robust Holt smoothing (Gelper, Fried & Croux 2010, "Robust forecasting with exponential and Holt-Winters smoothing",
J. Forecasting 29:285): what is far from the forecast enters the level only as far as two spreads, and the spread only
through a bounded function. The trend is damped (Gardner & McKenzie 1985). A value a step, a handful of numbers kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

LEVEL: Final = 0.1
TREND: Final = 0.02
SPREAD: Final = 0.05
DAMPING: Final = 0.95
CUT: Final = 2.0
"""Huber's k, and that of the bounded function: in spreads, as in the paper."""
UNIT: Final = 2.52
"""Its factor that makes the spread of normal values their standard deviation (the paper's, for a k of 2)."""


@dataclass(slots=True)
class Forecast:
    """Of one series. floor: the least spread."""

    level: float
    trend: float
    spread: float
    floor: float

    @classmethod
    def of(cls, first: Sequence[float], floor: float) -> "Forecast":
        """From at least 3 values: their repeated median line (Siegel 1982), the spread from the median deviation."""
        count = len(first)
        slopes = [median([(first[j] - first[i]) / (j - i) for j in range(count) if j != i]) for i in range(count)]
        slope = median(slopes)
        begin = median([value - slope * place for place, value in enumerate(first)])
        deviations = [abs(value - begin - slope * place) for place, value in enumerate(first)]
        return cls(begin + slope * (count - 1), slope, max(floor, 1.4826 * median(deviations)), floor)

    @property
    def next(self) -> float:
        """The value that is expected next."""
        return self.level + DAMPING * self.trend

    def distance(self, value: float) -> float:
        """How many spreads `value` is above what is expected."""
        return (value - self.next) / self.spread

    def take(self, value: float) -> None:
        """The next value of the series, finite."""
        expected, z = self.next, self.distance(value)
        bounded = UNIT * (1.0 - (1.0 - min(1.0, (z / CUT) ** 2)) ** 3)
        self.spread *= (SPREAD * bounded + 1.0 - SPREAD) ** 0.5
        self.spread = max(self.floor, self.spread)
        cleaned = expected + self.spread * max(-CUT, min(CUT, (value - expected) / self.spread))
        before = self.level
        self.level = LEVEL * cleaned + (1.0 - LEVEL) * expected
        self.trend = TREND * (self.level - before) + (1.0 - TREND) * DAMPING * self.trend
