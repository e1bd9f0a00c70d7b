"""What a pure machine asks of its edge. Calls come back as `on_result(call, result, now)`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import State
from deepseek_runtime.protocol.applied import AppliedSet
from deepseek_runtime.protocol.files import FileRef, Source
from deepseek_runtime.protocol.messages import Lease, Message

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Send:
    to: Member
    message: Message


@dataclass(frozen=True, slots=True)
class Note:
    """An event for people and metrics."""

    reason: str
    text: str
    warning: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """A call that could not be done. `kind` as in StoreError, or "etcd"."""

    kind: str
    text: str


# --- the chief's calls to etcd and the store --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadTerm:
    """-> TermRecord | None | Failed: etcd's own term, read linearizably."""

    purpose: Literal["open", "clean"]


@dataclass(frozen=True, slots=True)
class FindCheckpoint:
    """-> Found | None | Failed: the newest checkpoint that term `term` may begin from. `skip` are damaged ones."""

    term: int
    skip: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Found:
    source: Source
    space: Mapping[str, Any]
    samples: int
    fixed: FileRef | None
    moments: FileRef | None
    tied: Mapping[str, str] = field(default_factory=dict)
    foreign: bool = False
    """From restoreFrom: it is stored as the term's own first checkpoint before anything opens."""
    loss_scale: float | None = None
    passed_over: tuple[str, ...] = ()
    """Newer ones whose index cannot be read, each with the reason."""
    created: float | None = None
    """Seconds since the Unix epoch."""


@dataclass(frozen=True, slots=True)
class WriteIndex:
    """-> None | Failed. Once a step and term, last (protocol.md, Checkpoints 2)."""

    term: int
    step: int
    parent: tuple[int, int] | None
    space: Mapping[str, Any]
    samples: int
    parts: Mapping[int, FileRef]
    fixed: FileRef | None
    moments: FileRef | None
    loss_scale: float | None = None
    tied: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WriteBase:
    """-> None | Failed. Once a term, before anything opens."""

    term: int
    restored: tuple[int, int] | None
    continues: int | None


@dataclass(frozen=True, slots=True)
class WriteState:
    """-> bool | Failed: False when etcd holds another term."""

    term: int
    state: State


@dataclass(frozen=True, slots=True)
class ListWorkers:
    """-> tuple[Member, ...] | Failed: the registered workers, listed anew; Failed within 10 s of etcd being emptied or
    unreachable."""


@dataclass(frozen=True, slots=True)
class Clean:
    """-> None | Failed: delete what `keep` no longer needs. Only after ReadTerm has shown our own term."""

    term: int


@dataclass(frozen=True, slots=True)
class Fail:
    """The job cannot go on: tell the operator (requests/<id>, kind fail). `code` is an exit code."""

    code: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class RollBack:
    """The weights are damaged: ask the operator for a term that restores (requests/<id>, kind roll_back)."""

    text: str


# --- a server's calls to the store -----------------------------------------------------------------------------------


@dataclass(slots=True)
class PartData:
    """One span as it is stored."""

    span: int
    theta: F32
    applied: AppliedSet
    skipped: set[int]
    ordinal: int
    """Pushes applied since the span's line began: where pushes.jsonl stands."""
    lost: float
    residuals: dict[str, float]
    pushed: float
    integers: I64 | None = None
    extra: dict[str, F32] = field(default_factory=dict)
    """State of the server's rule (momentum ...)."""
    extra_scalars: dict[str, float] = field(default_factory=dict)

    def let_go(self) -> None:
        """It is stored: the vectors are somebody else's again."""
        self.theta = np.zeros(0, np.float32)
        self.extra = {}


@dataclass(frozen=True, slots=True)
class WriteParts:
    """-> dict[int, FileRef] | Failed"""

    order: int
    term: int
    step: int
    parts: tuple[PartData, ...]


@dataclass(frozen=True, slots=True)
class LoadParts:
    """-> dict[int, PartData] | Failed"""

    order: int
    term: int
    source: Source
    spans: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LogPush:
    """Append to pushes.jsonl."""

    line: Mapping[str, Any]


# --- a worker's edge --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartRange:
    """The copy is up to date: train this lease's range on it."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class StartEvaluation:
    key: str
    step: int


@dataclass(frozen=True, slots=True)
class StartMoments:
    key: str
    step: int
    term: int


@dataclass(frozen=True, slots=True)
class StartInitial:
    """Build the initial model; then `offer`."""

    number: int


@dataclass(frozen=True, slots=True)
class Adopt:
    """Joined a branch: load fixed tensors and moments (None: reset the optimizer)."""

    branch: int
    space: Mapping[str, Any]
    samples: int
    fixed: FileRef | None
    moments: FileRef | None
    step: int
    """Steps done; 0: the weights are the initial ones."""
    loss_scale: float | None


@dataclass(frozen=True, slots=True)
class Leave:
    finished: bool


Call = ReadTerm | FindCheckpoint | WriteIndex | WriteBase | WriteState | ListWorkers | Clean | WriteParts | LoadParts
Effect = (
    Send
    | Note
    | Fail
    | RollBack
    | Call
    | LogPush
    | StartRange
    | StartEvaluation
    | StartMoments
    | StartInitial
    | Adopt
    | Leave
)
