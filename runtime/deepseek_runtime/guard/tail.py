"""How far above its forecast a healthy loss ever gets: the quantile that only one in 1 / risk exceeds.

Peaks over a threshold (Siffer, Fouque, Termier & Largouet, KDD 2017, "Anomaly detection in streams with extreme value
theory"; with a forecast taken off first it is their DSPOT): what exceeds a high quantile follows a generalised Pareto
distribution whatever the series, and is fitted by probability-weighted moments (Hosking & Wallis 1987). Losses have
heavy tails that no normal distribution knows; the last WINDOW distances are kept, 16 KiB.
"""

import math
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

WINDOW: Final = 2048
REFIT: Final = 64
ENOUGH: Final = 256
PEAKS: Final = 0.05
"""Part of the distances that are peaks."""
HEAVIEST: Final = 0.25
"""Of the shape: about a hundred peaks do not tell heavier ones apart, and a wild fit would see nothing any more."""
CUT: Final = 2.0
NORMAL: Final = NormalDist()
LEAST: Final = 6.0
"""Spreads: nothing nearer is ever beyond, however tame the window was."""


class Tail:
    """risk: with which a distance of a healthy series is above `quantile`."""

    def __init__(self, risk: float) -> None:
        self.quantile = exponential(risk)
        self._risk = risk
        self._window: npt.NDArray[np.float64] = np.zeros(WINDOW)
        self._ordered: npt.NDArray[np.float64] = np.zeros(0)
        self._count = 0

    def score(self, distance: float) -> float:
        """What a normal value of the same rank among the last distances would be (van der Waerden's score): so what
        is made of scores is right whatever the series' distribution. Before enough is known: the distance, cut."""
        count = self._ordered.size
        if not count:
            return max(-CUT, min(CUT, distance))
        rank = int(np.searchsorted(self._ordered, distance))
        return NORMAL.inv_cdf((rank + 0.5) / (count + 1))

    def take(self, distance: float) -> None:
        self._window[self._count % WINDOW] = distance
        self._count += 1
        if self._count >= ENOUGH and self._count % REFIT == 0:
            self._ordered = np.sort(self._window[: min(self._count, WINDOW)])
            self.quantile = max(LEAST, fitted(self._ordered, self._risk))


def exponential(risk: float) -> float:
    """Before enough is known: as if the highest twentieth of a normal fell off like e^-x."""
    return 1.645 + math.log(max(1.0, PEAKS / risk))


def fitted(ordered: npt.NDArray[np.float64], risk: float) -> float:
    """The quantile at 1 - risk of `ordered` [n], ascending, by a generalised Pareto fit to the highest PEAKS of it."""
    count = max(8, int(PEAKS * ordered.size))
    threshold = float(ordered[-count - 1])
    peaks = ordered[-count:] - threshold
    mean = float(peaks.mean())
    if mean <= 0.0:
        return threshold
    places = (np.arange(1, count + 1) - 0.35) / count
    weighted = float(((1.0 - places) * peaks).mean())
    found = 2.0 - mean / (mean - 2.0 * weighted) if mean > 2.0 * weighted else 0.0
    # And its standard error, as too near a quantile is a false alarm and too far a one only less sharp.
    shape = min(HEAVIEST, max(0.0, found) + count**-0.5)
    # With the shape cut to what is believed, the scale that has the mean of the peaks.
    scale = mean * (1.0 - shape)
    part = max(1.0, count / ordered.size / risk)
    rise = math.log(part) if shape < 1e-6 else (part**shape - 1.0) / shape
    return float(threshold + scale * rise)
