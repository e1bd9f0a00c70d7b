"""One range while it is being trained."""

import math
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from deepseek_runtime.feed import RangeStats, Train
from deepseek_runtime.guard.caution import Caution
from deepseek_runtime.ranges import RangePlan
from deepseek_runtime.space import F32


class TrainingRange:
    """Where in its range a session is, and what its batches lost."""

    def __init__(self, train: Train, plan: RangePlan, batches: Iterator[Any]) -> None:
        self.g = train.g
        self.steps = plan.steps
        self.caution = train.caution
        self._first = train.first_step
        self._sizes = [len(batch) for batch in train.batches]
        self._batches = batches
        self._losses: list[float] = []
        self._began = time.perf_counter()

    @property
    def step(self) -> int:
        """Place of the present batch in the whole job."""
        return self._first + len(self._losses)

    @property
    def complete(self) -> bool:
        return len(self._losses) == len(self._sizes)

    def load(self) -> Any:
        return next(self._batches)

    def batch_done(self, loss: float) -> None:
        self._losses.append(loss)

    def stats(self, loss_scale: float | None, difference: F32) -> RangeStats:
        """difference: what is pushed."""
        samples = sum(self._sizes)
        return RangeStats(
            loss=sum(loss * size for loss, size in zip(self._losses, self._sizes, strict=True)) / samples,
            samples=samples,
            loss_scale=loss_scale,
            seconds=time.perf_counter() - self._began,
            batch_losses=tuple(self._losses),
            update=_norm(difference) if self.caution is not None else None,
        )


def plausible(stats: RangeStats, caution: Caution) -> bool:
    """Whether a trained range may be pushed, as its lease says."""
    return not _above(stats.loss, caution.loss_limit) and not _above(stats.update, caution.update_limit)


def refusal(stats: RangeStats, caution: Caution) -> str:
    """Why not, for people."""
    if _above(stats.loss, caution.loss_limit):
        what, limit = f"loss {stats.loss:.4g}", caution.loss_limit
    else:
        what, limit = f"its update's norm {stats.update or 0.0:.4g}", caution.update_limit
    return f"{what} is above {limit or 0.0:.4g}, the greatest plausible one"


def _above(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and value > limit


def _norm(vector: F32) -> float:
    """Finite also where the squares overflow float32: what is told to a server must be a number."""
    return min(math.sqrt(float(np.dot(vector, vector))), sys.float_info.max)
