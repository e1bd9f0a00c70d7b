"""What `step` does with a batch's gradients, and what a range sends: the two faces of `training.update.mode`."""

import logging
import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from deepseek_runtime import schedule
from deepseek_runtime.contract.config import Optimizer, Training
from deepseek_runtime.contract.exit_codes import USER_CODE
from deepseek_runtime.feed import JobRefused
from deepseek_runtime.model_space import ModelSpace
from deepseek_runtime.optimizers import has_scheduler, rates, set_rates
from deepseek_runtime.space import F32
from deepseek_runtime.training_range import TrainingRange

log = logging.getLogger(__name__)

CLIP_EPSILON: Final = 1e-6
"""As in torch.nn.utils.clip_grad_norm_."""


def measure(
    trained: Sequence[torch.Tensor], unscale: float, loss: float, *, in_place: bool = True
) -> torch.Tensor | None:
    """The unscaled gradients' global norm (0-d), or None when the loss or any of them is non-finite.

    in_place: the gradients themselves are unscaled, too.
    """
    grads = _gradients(trained)
    if unscale != 1.0 and in_place:
        for grad in grads:
            grad.mul_(unscale)
    if not math.isfinite(loss):
        return None
    if not grads:
        return torch.zeros(())
    norms = [torch.linalg.vector_norm(grad, dtype=torch.float32) for grad in grads]
    norm: torch.Tensor = torch.linalg.vector_norm(torch.stack([one.to(norms[0].device) for one in norms]))
    if not in_place:
        norm = norm * unscale
    if torch.isfinite(norm):
        return norm
    # The norm's squares may overflow where no gradient does.
    return norm if all(bool(torch.isfinite(grad).all()) for grad in grads) else None


def all_finite(values: F32) -> bool:
    """Their squares may overflow where no value does; mostly they do not, and one pass is enough."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = float(np.dot(values, values))
    return math.isfinite(squares) or bool(np.isfinite(values).all())


def clip(trained: Sequence[torch.Tensor], norm: torch.Tensor, limit: float) -> None:
    """Scales the gradients in place to the global norm `limit` if `norm` is above it."""
    coefficient = torch.clamp(limit / (norm + CLIP_EPSILON), max=1.0)
    for grad in _gradients(trained):
        if coefficient.device != grad.device:
            coefficient = coefficient.to(grad.device)
        grad.mul_(coefficient)


def _gradients(trained: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    found = []
    for parameter in trained:
        grad = parameter.grad
        if grad is not None and grad.is_sparse:
            # Duplicate rows add up only when coalesced.
            parameter.grad = grad = grad.coalesce()
        if grad is not None:
            found.append(grad._values() if grad.is_sparse else grad)
    return found


class LocalUpdate:
    """The user's own optimizer steps here; a range sends x - y.

    The optimizer's learning rates are the base, `training.optimizer`'s schedule and clip_norm apply to it. A
    scheduler of the user's would count this worker's batches instead of the job's, so it is refused in a job.
    """

    def __init__(
        self, training: Training, space: ModelSpace, optimizer: torch.optim.Optimizer | None, *, in_job: bool
    ) -> None:
        if optimizer is None:
            raise JobRefused(
                USER_CODE,
                "OptimizerMissing",
                "join(optimizer=None) is for training.update.mode: gradient; give it the optimizer of your loop",
            )
        if isinstance(optimizer, torch.optim.LBFGS):
            raise JobRefused(
                USER_CODE, "OptimizerRefused", "LBFGS calls the loss by itself (a closure); use SGD, Adam, AdamW ..."
            )
        self.optimizer = optimizer
        self._space = space
        self._config = training.optimizer or Optimizer()
        self._scheduled = self._config.schedule != "constant" or self._config.warmup_steps > 0
        self._clip_norm = training.optimizer.clip_norm if training.optimizer else None
        self._in_job = in_job
        self._base = rates(optimizer)
        self._last = self._base
        self._local_steps = training.update.local_steps
        self._warm_steps = self._warm_done = 0
        self._slower = 1.0

    def check(self) -> None:
        """Before each range. Raises JobRefused (65) when user code moves the learning rate itself."""
        if self._in_job and (has_scheduler(self.optimizer) or rates(self.optimizer) != self._last):
            raise JobRefused(
                USER_CODE,
                "SchedulerRefused",
                "the learning rate is changed by the script (a torch scheduler?): in a job it must follow from the "
                "job's step, not from this worker's. Remove it and set training.optimizer.schedule and warmupSteps",
            )

    def warm_up(self) -> None:
        """After moments were lost: the rate rises over two ranges, while the optimizer gathers them anew.

        Plain SGD has none to lose.
        """
        if isinstance(self.optimizer, torch.optim.SGD) and not any(g["momentum"] for g in self.optimizer.param_groups):
            return
        self._warm_steps, self._warm_done = 2 * self._local_steps, 0

    def begin(self, lr: float) -> None:
        """lr: what the range's learning rates are multiplied by, beside the schedule."""
        self._slower = lr

    def apply(self, present: TrainingRange, norm: torch.Tensor) -> None:
        if self._clip_norm is not None:
            clip(self._space.trained, norm, self._clip_norm)
        if self._scheduled or self._warm_steps or self._slower != 1.0 or self._last != self._base:
            part = self._part(present) * self._slower
            set_rates(self.optimizer, [base * part for base in self._base])
            self._last = rates(self.optimizer)
        self.optimizer.step()

    def _part(self, present: TrainingRange) -> float:
        part = schedule.factor(self._config, present.step, present.steps) if self._scheduled else 1.0
        if self._warm_steps:
            self._warm_done += 1
            part *= min(1.0, self._warm_done / (self._warm_steps + 1))
            if self._warm_done > self._warm_steps:
                self._warm_steps = 0
        return part

    def result(self) -> F32:
        return self._space.difference()


class GradientUpdate:
    """The servers hold the optimizer; a range sends the mean gradient of its batches, and buffers as x - y."""

    optimizer: torch.optim.Optimizer | None = None

    def __init__(self, training: Training, space: ModelSpace, optimizer: torch.optim.Optimizer | None) -> None:
        if optimizer is not None:
            log.warning("training.update.mode is gradient: the servers step, the optimizer given to join is not used")
        self._space = space
        self._clip_norm = training.optimizer.clip_norm if training.optimizer else None
        self._sum: F32 = np.zeros(0, np.float32)
        self._batches = 0

    def check(self) -> None:
        return

    def warm_up(self) -> None:
        return

    def begin(self, lr: float) -> None:
        """The servers' steps are made smaller by w of the lease."""
        self._sum = np.zeros(self._space.space.size, np.float32)
        self._batches = 0

    def apply(self, present: TrainingRange, norm: torch.Tensor) -> None:
        if self._clip_norm is not None:
            clip(self._space.trained, norm, self._clip_norm)
        self._space.gradient(self._sum)
        self._batches += 1

    def result(self) -> F32:
        mean = self._sum / np.float32(self._batches)
        changed = self._space.difference()
        for segment in self._space.space.segments:
            if segment.kind == "buffers":
                mean[segment.offset : segment.stop] = changed[segment.offset : segment.stop]
        return mean
