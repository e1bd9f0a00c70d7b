"""What the next value of a training signal may plausibly be, and whether the last ones were.

Two one-sided tests, each with the stated risk a range: a single value above the quantile of tail.py; and a run of
values that are all somewhat high (Page's CUSUM 1954 of their normal scores, its threshold from Siegmund's 1985
approximation of the mean time between false alarms). Values are looked at through asinh, which is a logarithm where
they are large and takes them as they are near 0 and below: a loss that falls from 5 to 0.01 has one scale.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final, Literal

from deepseek_runtime.guard.forecast import Forecast
from deepseek_runtime.guard.tail import Tail

Verdict = Literal["fine", "beyond", "drift"]
FARTHEST: Final = 4.0
"""Of asinh: more than 50 times what is expected is never plausible, however wild the series is."""
SCALE: Final = 0.05
"""Of asinh: this part of the first values' median is where it turns from a line into a logarithm."""
FLOOR: Final = 0.05
"""The least spread, in asinh's units: 5 % of a value that is large."""
REFERENCE: Final = 1.0
"""CUSUM: what of each score does not count."""


@dataclass(slots=True)
class Plausible:
    """risk: false alarms a value and test. warmup: values before anything is judged, at least 8.

    material: how much of what training has won a value must undo to be beyond; apart: how far from the forecast it
    must be at least, in asinh's units (log of a factor); drifts: whether the second test is made.
    """

    risk: float
    warmup: int
    material: float = 0.0
    apart: float = 0.0
    drifts: bool = True
    _first: list[float] = field(default_factory=list)
    _scale: float = 0.0
    _forecast: Forecast | None = None
    _tail: Tail = field(init=False)
    _threshold: float = field(init=False)
    _sum: float = 0.0
    _start: float = 0.0
    _best: float = 0.0

    def __post_init__(self) -> None:
        self._tail = Tail(self.risk)
        self._threshold = cusum_threshold(self.risk)

    @property
    def expected(self) -> float | None:
        """None: still warming up."""
        return self._back(self._forecast.next) if self._forecast is not None else None

    @property
    def limit(self) -> float:
        """The greatest plausible next value; infinite while warming up."""
        forecast = self._forecast
        if forecast is None:
            return math.inf
        away = min(FARTHEST, max(self.apart, forecast.spread * self._tail.quantile))
        return max(self._back(forecast.next + away), self._won)

    @property
    def _won(self) -> float:
        """Below it a value undoes too little to matter."""
        return self._best + self.material * max(0.0, self._start - self._best) if self.material else -math.inf

    def judge(self, value: float) -> Verdict:
        """Of the next value, which may be infinite or NaN. It is learnt from, unless it is beyond."""
        forecast = self._forecast
        if not math.isfinite(value):
            return "beyond"
        if forecast is None:
            self._warm_up(value)
            return "fine"
        if value > self.limit:
            return "beyond"
        seen = self._seen(value)
        distance = forecast.distance(seen)
        self._sum = max(0.0, self._sum + self._tail.score(distance) - REFERENCE)
        self._tail.take(distance)
        if not self.drifts or self._sum <= self._threshold / 2 or distance < 0.0:
            forecast.take(seen)
            self._best = min(self._best, self._back(forecast.level))
        if not self.drifts or self._sum <= self._threshold:
            return "fine"
        self._sum = 0.0
        if value < self._won or seen - forecast.next < self.apart / 2:
            forecast.take(seen)
            return "fine"
        return "drift"

    def begin_anew(self) -> None:
        """What was found implausible is how it is now."""
        self._first.clear()
        self._forecast = None
        self._tail = Tail(self.risk)
        self._sum = 0.0

    def _warm_up(self, value: float) -> None:
        self._first.append(value)
        if len(self._first) < max(8, self.warmup):
            return
        first = self._first
        if self._scale == 0.0:
            self._scale = max(1e-12, SCALE * median([abs(value) for value in first]))
            self._start = median(first[: max(3, len(first) // 4)])
        self._forecast = Forecast.of([self._seen(value) for value in first], FLOOR)
        self._best = self._back(self._forecast.level)
        self._first = []

    def _seen(self, value: float) -> float:
        return math.asinh(value / self._scale)

    def _back(self, seen: float) -> float:
        return self._scale * math.sinh(min(seen, 700.0))

    # --- what the next chief goes on with

    def memory(self) -> dict[str, float]:
        """Empty while warming up."""
        forecast = self._forecast
        if forecast is None:
            return {}
        return {
            "level": forecast.level,
            "trend": forecast.trend,
            "spread": forecast.spread,
            "scale": self._scale,
            "start": self._start,
            "best": self._best,
            "quantile": self._tail.quantile,
        }

    def recall(self, memory: Mapping[str, float]) -> None:
        """Goes on where `memory` was taken; nothing of an empty or incomplete one."""
        if not {"level", "trend", "spread", "scale", "start", "best", "quantile"} <= set(memory):
            return
        self._forecast = Forecast(memory["level"], memory["trend"], max(FLOOR, memory["spread"]), FLOOR)
        self._scale = max(1e-12, memory["scale"])
        self._start, self._best = memory["start"], memory["best"]
        self._tail.quantile = memory["quantile"]


def cusum_threshold(risk: float, k: float = REFERENCE) -> float:
    """h at which normal values reach it once in 1 / risk on average: (e^2kb - 2kb - 1) / 2k^2 = 1 / risk with
    b = h + 1.166 (Siegmund 1985, of a drift of -k), by bisection."""
    low, high = 0.0, 100.0
    for _ in range(60):
        b = (low + high) / 2
        if (math.exp(2 * k * b) - 2 * k * b - 1) / (2 * k * k) < 1.0 / risk:
            low = b
        else:
            high = b
    return max(0.5, high - 1.166)
