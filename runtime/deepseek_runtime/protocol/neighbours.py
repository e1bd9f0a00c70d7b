"""What servers say to one another: a span handed over, and changes of a span forwarded to its backup.

The **neighbour** of a server is the next one of the term, cyclic. With `servers.backup` it holds a second copy of each
of the server's spans, and takes every change of them in the order in which the owner made it (protocol.md, Server 6).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.applied import AppliedSet

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
Payload = bytes | memoryview
Answer = Literal["applied", "duplicate", "stale"]


@dataclass(frozen=True, slots=True)
class LastAnswer:
    """To one worker: what was said about its push `sequence`."""

    incarnation: int
    sequence: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class PushChange:
    """A push as it was applied: the same payload bytes as came from the worker."""

    worker: Member
    sequence: int
    w: float
    parts: Mapping[int, Payload]
    residuals: Mapping[int, float]
    magnitudes: Mapping[int, float]
    integers: I64 | None = None


@dataclass(frozen=True, slots=True)
class Forward:
    """An owner to its neighbour: what has just changed some spans; repeated until confirmed."""

    term: int
    branch: int
    numbers: Mapping[int, int]
    """By span: the how many-th change of it this is."""
    g: int | None
    """The range; None: a residual."""
    push: PushChange | None
    """None: the range was skipped."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The neighbour to the owner: by span, the number up to which it has every change."""

    term: int
    numbers: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Fetch:
    """To the server that holds the newest state of a span, while a term opens; repeated until that is here."""

    term: int
    span: int


@dataclass(frozen=True, slots=True)
class HandOver:
    """A span's whole state but its published copy: a copy begins anew wherever its span goes."""

    term: int
    span: int
    branch: int
    theta: F32
    applied: AppliedSet
    skipped: frozenset[int]
    ordinal: int
    changes: int
    lost: float
    residuals: Mapping[str, float]
    pushed: float
    answers: Mapping[int, LastAnswer]
    integers: I64 | None = None
    extra: Mapping[str, F32] = field(default_factory=dict)
    """State of the server's rule (momentum ...)."""
    extra_scalars: Mapping[str, float] = field(default_factory=dict)


ToNeighbour = Forward | Confirmed | Fetch | HandOver
