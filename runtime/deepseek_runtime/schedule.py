"""The learning rate as a function of the global step: no state, so a range trained anew trains the same. No torch."""

import math

from deepseek_runtime.contract.config import Optimizer


def factor(optimizer: Optimizer, step: int, steps: int) -> float:
    """What the base learning rate is multiplied by at batch `step` (from 0) of `steps`; in [0, 1].

    Linear warm-up over `warmup_steps`, its first batch at 1 / warmup_steps; then constant, or half a cosine
    (Loshchilov & Hutter, 1608.03983, without restarts) or a line that ends at 0 after the last batch.
    """
    warmup = optimizer.warmup_steps
    if step < warmup:
        return (step + 1) / warmup
    if optimizer.schedule == "constant":
        return 1.0
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    if optimizer.schedule == "linear":
        return 1.0 - done
    return 0.5 * (1.0 + math.cos(math.pi * done))


def learning_rate(optimizer: Optimizer, step: int, steps: int) -> float:
    """The manifest's learning rate at batch `step` of `steps`."""
    return optimizer.lr * factor(optimizer, step, steps)
