"""The feed without a job: notebooks, tests, a first look at a task. No servers, no etcd.

The same order of batches, random states and schedule, and so the same losses, as a job of one worker and one server
without compression: x <- x - (x - y).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deepseek_runtime import schedule
from deepseek_runtime.contract.config import Optimizer, Training
from deepseek_runtime.feed import Description, Evaluate, RangeStats, Train
from deepseek_runtime.guard.caution import Held
from deepseek_runtime.ranges import RangePlan
from deepseek_runtime.rules import Moments
from deepseek_runtime.space import F32, I64, SPANS


@dataclass(frozen=True, slots=True)
class Trained:
    """A range done, as its session reported it."""

    g: int
    step: int
    """Batches of the job done after it."""
    stats: RangeStats


class Alone:
    """Hands out every range in order. What came of them stands in `trained`, `metrics` and `skipped`."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.spans = SPANS
        self.trained: list[Trained] = []
        self.metrics: list[tuple[int, dict[str, float]]] = []
        """(step, what evaluate returned): every `evaluation.everySteps`, and at the end."""
        self.skipped: list[tuple[int, str]] = []
        """(g, reason) of ranges given up."""
        self._g = 0
        self._tickets: list[int] = []
        self._x: F32 = np.zeros(0, np.float32)
        self._momentum: F32 = np.zeros(0, np.float32)
        self._integers: I64 = np.zeros(0, np.int64)

    def join(self, description: Description) -> RangePlan:
        initial = description.initial()
        self._x = initial.values.copy()
        self._integers = initial.integers.copy()
        self._momentum = np.zeros_like(self._x)
        config = self.training.optimizer or Optimizer()
        self._moments = Moments(self._x.size, config.betas, config.weight_decay)
        self._description = description
        training = self.training
        gradient = training.update.mode == "gradient"
        local_steps = 1 if gradient else training.update.local_steps
        if training.steps is not None:
            self.plan = RangePlan(description.samples, training.batch_size, local_steps, training.steps, training.seed)
        else:
            epochs = training.epochs or 1
            self.plan = RangePlan.of_epochs(
                description.samples, training.batch_size, local_steps, epochs, training.seed
            )
        return self.plan

    @property
    def losses(self) -> list[float]:
        """Of each batch, in order."""
        return [loss for trained in self.trained for loss in trained.stats.batch_losses]

    def next(self) -> Train | Evaluate | None:
        if self._tickets:
            return Evaluate(self._tickets[0], self._x, self._integers)
        if self._g == self.plan.count:
            return None
        g = self._g
        return Train(g, self._x, self._integers, self.plan.batches(g), self.plan.first_step(g))

    def push(self, difference: F32, integers: I64, stats: RangeStats) -> None:
        if self.training.update.mode == "gradient":
            self._x = self._descend(difference)
        else:
            self._x = self._x - difference
        self._integers = np.maximum(self._integers, integers)
        self.trained.append(Trained(self._g, self._steps_after(self._g), stats))
        self._done()

    def skip(self, reason: str, held: Held | None = None) -> None:
        self.skipped.append((self._g, reason))
        self._done()

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        self._tickets.remove(step)
        self.metrics.append((step, dict(metrics)))

    def close(self) -> None:
        return

    def _steps_after(self, g: int) -> int:
        return self.plan.first_step(g) + self.plan.steps_of(g)

    def _done(self) -> None:
        before, after = self.plan.first_step(self._g), self._steps_after(self._g)
        self._g += 1
        every = self.training.evaluation.every_steps
        due = every > 0 and after // every > before // every
        if due or self._g == self.plan.count:
            self._tickets.append(after)

    def _descend(self, gradient: F32) -> F32:
        """The servers' rules (rules.py) where a turn is one push: AdamW, or m = mu m + g, x -= lr g + lr mu m."""
        config = self.training.optimizer or Optimizer()
        rate = schedule.learning_rate(config, self.plan.first_step(self._g), self.plan.steps)
        mu = self.training.update.momentum
        x = self._x.copy()
        if config.name != "sgd":
            segments = self._description.space.segments
            trained = [slice(one.offset, one.stop) for one in segments if one.kind != "buffers"]
            self._moments.step(x, gradient, trained, 1.0, rate)
        for segment in self._description.space.segments:
            here = slice(segment.offset, segment.stop)
            if segment.kind == "buffers":
                x[here] -= gradient[here]
            if segment.kind == "buffers" or config.name != "sgd":
                continue
            x[here] -= np.float32(rate) * gradient[here]
            self._momentum[here] = np.float32(mu) * self._momentum[here] + gradient[here]
            x[here] -= np.float32(rate * mu) * self._momentum[here]
        return x
