"""What a lease tells its worker to be careful about. Plain data; rides in every lease of a guarded job."""

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Caution:
    """The defaults change nothing."""

    loss_limit: float = inf
    """A range whose mean loss is above it is not pushed but reported."""
    update_limit: float = inf
    """The same of the Euclidean norm of what it would push."""
    lr: float = 1.0
    """`local`: what the worker's learning rate is multiplied by. (`gradient`: w of the lease is smaller instead.)"""
    precise: bool = False
    """Compute in float32, and push values that are not rounded."""


UNGUARDED = Caution()


@dataclass(frozen=True, slots=True)
class Held:
    """What a worker reports of a range that it did not push. Not finite: it overflowed."""

    loss: float
    update: float
    precise: bool
    """Whether it was trained with every precaution about precision."""
