"""Which samples belong to range g: pure arithmetic, the same in the chief, in every worker, and alone.

A range is `local_steps` batches, trained by one worker and sent in one push. Everything about its batches
(shuffle, place in the schedule, random state) is a function of (seed, g), so nothing of it is ever saved.

Rules: a range never crosses an epoch; the last batch of an epoch is short, and one of a single sample joins
the batch before it (BatchNorm fails on 1); the last range of the job is cut to `steps`.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RangePlan:
    """The ranges of a job.

    samples: length of the data set; steps: batches of the whole job.
    Raises ValueError when a count is not positive.
    """

    samples: int
    batch_size: int
    local_steps: int
    steps: int
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("samples", "batch_size", "local_steps", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @classmethod
    def of_epochs(cls, samples: int, batch_size: int, local_steps: int, epochs: int, seed: int = 0) -> "RangePlan":
        return cls(samples, batch_size, local_steps, epochs * _batches_per_epoch(samples, batch_size), seed)

    @property
    def batches_per_epoch(self) -> int:
        return _batches_per_epoch(self.samples, self.batch_size)

    @property
    def ranges_per_epoch(self) -> int:
        return -(-self.batches_per_epoch // self.local_steps)

    @property
    def count(self) -> int:
        """Ranges of the whole job; g runs from 0 to count - 1."""
        epochs, rest = divmod(self.steps, self.batches_per_epoch)
        return epochs * self.ranges_per_epoch + -(-rest // self.local_steps)

    def epoch(self, g: int) -> int:
        return g // self.ranges_per_epoch

    def first_step(self, g: int) -> int:
        """Place of the range's first batch in the job: what the schedule is a function of."""
        epoch, place = divmod(g, self.ranges_per_epoch)
        return epoch * self.batches_per_epoch + place * self.local_steps

    def steps_of(self, g: int) -> int:
        """Batches in range g: local_steps, fewer at the end of an epoch or of the job; 0 beyond it."""
        place = g % self.ranges_per_epoch
        in_epoch = min(self.local_steps, self.batches_per_epoch - place * self.local_steps)
        return max(0, min(in_epoch, self.steps - self.first_step(g)))

    def samples_of(self, g: int) -> int:
        """Samples in range g: what w is a share of."""
        return sum(stop - start for start, stop in self._bounds(g))

    def batches(self, g: int) -> list[I64]:
        """Indices into the data set, one array a batch, in the order of training."""
        order = _order(self.seed, self.epoch(g), self.samples)
        return [order[start:stop] for start, stop in self._bounds(g)]

    def _bounds(self, g: int) -> list[tuple[int, int]]:
        first = (g % self.ranges_per_epoch) * self.local_steps
        bounds = []
        for batch in range(first, first + self.steps_of(g)):
            last = batch == self.batches_per_epoch - 1
            bounds.append((batch * self.batch_size, self.samples if last else (batch + 1) * self.batch_size))
        return bounds


def _batches_per_epoch(samples: int, batch_size: int) -> int:
    whole, rest = divmod(samples, batch_size)
    return max(1, whole + (1 if rest > 1 else 0)) if batch_size > 1 else samples


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, samples: int) -> I64:
    order = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64))).permutation(samples)
    order.flags.writeable = False
    return order.astype(np.int64, copy=False)
