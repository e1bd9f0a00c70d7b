"""What a lease tells its worker to be careful about. Plain data; rides in every lease of a guarded job."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caution:
    """The defaults change nothing."""

    loss_limit: float | None = None
    """A range whose mean loss is above it is not pushed but reported; None: there is no limit yet."""
    update_limit: float | None = None
    """The same of the Euclidean norm of what it would push."""
    lr: float = 1.0
    """`local`: what the worker's learning rate is multiplied by. (`gradient`: w of the lease is smaller instead.)"""
    precise: bool = False
    """Compute in float32, and push values that are not rounded."""


UNGUARDED = Caution()


@dataclass(frozen=True, slots=True)
class Held:
    """What a worker reports, beside the reason in words, of a range that it did not push."""

    precise: bool
    """Whether it was trained with every precaution about precision."""
