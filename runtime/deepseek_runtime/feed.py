"""What a session needs from outside: ranges to train, and somewhere to send what came of them.

Two implementations: `alone.py` (no job: notebooks, tests) and `worker.py` (a member of a job). The session
calls from the user's thread; a feed may block there, and does its own I/O on another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from deepseek_runtime.contract.config import Training
from deepseek_runtime.guard.caution import Caution, Held
from deepseek_runtime.ranges import I64, RangePlan
from deepseek_runtime.space import Space, zeros

F32 = npt.NDArray[np.float32]
Tensors = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Initial:
    """What the initialiser of a job sends: the model as the user's code built it."""

    values: F32
    """[space.size], padding zero."""
    integers: I64
    """[space.integers_size], all integer buffers, flat."""
    fixed: Tensors
    """What is not trained: frozen parameters, bool buffers ... under their names in the state dict."""


def _keep(scale: float) -> None:
    """Other precisions have no scale."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a session knows about its model and data before the first range."""

    space: Space
    samples: int
    initial: Callable[[], Initial]
    """Called only in the initialiser (and alone)."""
    load_fixed: Callable[[Tensors], None]
    """Called before the first range in every worker that was not the initialiser."""
    moments: Callable[[], Tensors]
    """The optimizer's state as flat arrays: `<parameter name>/<state key>` (float32 of the parameter's shape, or
    0-d), called between ranges on the session's thread when the chief wants them in a checkpoint."""
    load_moments: Callable[[Tensors, bool], None]
    """(moments, initial), when a branch is joined, before its first range. An empty mapping resets the optimizer; its
    learning rate then rises anew, unless the branch begins at the initial weights."""
    load_loss_scale: Callable[[float], None] = _keep
    """Of float16: begin with this scale, not with `init`."""
    room: Callable[[int], F32] = zeros
    """A vector of zeros for the published copy, which the session reads fastest: pinned if it has a GPU."""
    tied: Mapping[str, str] = field(default_factory=dict)
    """Further names of tied tensors in the state dict -> the name under which `space` or `fixed` has them: export
    needs them, or the bare model's strict load fails."""


@dataclass(frozen=True, slots=True)
class Train:
    """Train range g, starting from `x`, then call `push` (or `skip`)."""

    g: int
    x: F32
    """[space.size] the published copy; the session must not write to it."""
    integers: I64
    batches: list[I64]
    first_step: int
    caution: Caution | None = None


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Load x, call the user's evaluate in eval mode, then call `evaluated`."""

    step: int
    x: F32
    integers: I64


@dataclass(frozen=True, slots=True)
class RangeStats:
    loss: float
    """Mean over the range's samples."""
    samples: int
    loss_scale: float | None = None
    seconds: float = 0.0
    batch_losses: tuple[float, ...] = field(default=())
    update: float | None = None
    """Euclidean norm of what is pushed; None: nobody asks."""


class Feed(Protocol):
    training: Training
    """What the job says; alone: made from the keywords of `join`."""
    spans: int
    """JobConfig.spans: into how many spans at most the session cuts its parameter space."""

    def join(self, description: Description) -> RangePlan:
        """Blocks until the job has a base. Raises JobRefused when this worker does not fit the others."""
        ...

    def next(self) -> Train | Evaluate | None:
        """Blocks. None: the job (or this worker's part in it) is over; the session's loop ends."""
        ...

    def push(self, difference: F32, integers: I64, stats: RangeStats) -> None:
        """The result of the last Train: `local`: x - y; `gradient`: the mean gradient. [space.size], owned by the
        feed from here on."""
        ...

    def skip(self, reason: str, held: Held | None = None) -> None:
        """The last Train stayed non-finite at every precision, or is implausible (held)."""
        ...

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class JobRefused(Exception):
    """This worker cannot be part of the job: its model or data differ, its task is missing ...

    `code` is the exit code, `reason` a CamelCase word for ExitRecord.reason.
    """

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
