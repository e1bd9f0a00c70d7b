"""What a chief and its servers say to one another: orders, each told until it is done, and what was applied."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.applied import AppliedSet
from deepseek_runtime.protocol.files import FileRef, Source


@dataclass(frozen=True, slots=True)
class Joined:
    """A server to the chief of `term`: I follow you; repeated until the first order."""

    term: int


@dataclass(frozen=True, slots=True)
class Holdings:
    """Order: which spans do you hold?"""


@dataclass(frozen=True, slots=True)
class Receive:
    """Order: take initial weights of naming `number`, and store them as parts of step 0."""

    number: int
    space: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Order: make ready these spans, from a checkpoint (source) or from what servers hold (None). Not yet yours."""

    branch: int
    space: Mapping[str, Any]
    spans: tuple[int, ...]
    source: Source | None
    samples: int
    """Length of the data set: what the schedule follows from."""
    backups: tuple[int, ...] = ()
    """Spans of the server before this one."""
    origins: Mapping[int, Member] = field(default_factory=dict)
    """By span: who has its newest state, for those that are not, or not as new, with this server."""
    forwards: bool = False
    """Whether its own spans have backups: every change goes to the neighbour too."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Order: what Place made ready is yours now; forget all else."""


@dataclass(frozen=True, slots=True)
class Admit:
    """Order: from now on take pushes; tell the applied sets."""


@dataclass(frozen=True, slots=True)
class EndLease:
    """Order: answer `stale` to this lease from now on; tell which spans have its range."""

    number: int
    g: int


@dataclass(frozen=True, slots=True)
class Skip:
    """Order: range g enters the applied set of these spans as skipped."""

    g: int
    spans: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Save:
    """Order: copy the spans now, store them as parts of step `step`."""

    step: int


@dataclass(frozen=True, slots=True)
class Close:
    """Order: publish densely (p = theta); residual pushes are stale from now on."""


OrderBody = Holdings | Receive | Place | Drop | Admit | EndLease | Skip | Save | Close


@dataclass(frozen=True, slots=True)
class Order:
    """From the chief, told again until Done with the same id."""

    term: int
    id: int
    body: OrderBody


@dataclass(frozen=True, slots=True)
class SpanState:
    """What a chief learns of one span: Holdings and Admit answer with it."""

    branch: int
    placed: int
    """The term that placed it where it is."""
    applied: AppliedSet
    skipped: frozenset[int]
    changes: int = 0
    """How often it changed on its branch: of two holdings that one term placed, the greater has all of the other."""
    backup: bool = False
    """Held for the server before."""


@dataclass(frozen=True, slots=True)
class Done:
    """`error`: the order failed for a reason outside the protocol (a full disk, a damaged part)."""

    term: int
    id: int
    spans: Mapping[int, SpanState] = field(default_factory=dict)
    having: tuple[int, ...] = ()
    files: Mapping[int, FileRef] = field(default_factory=dict)
    error: str = ""
    error_kind: str = ""


@dataclass(frozen=True, slots=True)
class AppliedReport:
    """A server to its chief: what was applied since; repeated until acknowledged by `number`."""

    term: int
    number: int
    ranges: tuple[tuple[int, tuple[int, ...]], ...]
    """(g, spans)"""
    pushes: tuple[Mapping[str, Any], ...] = ()
    """For metrics: g, samples, loss, staleness, worker (server 0 only)."""
    wire_bytes: int = 0
    """Of this server since the term's start, both ways."""
    residuals: Mapping[str, float] = field(default_factory=dict)
    """Sum over its spans of |e| by worker ("" for what is lost for good)."""
    pushed: float = 0.0


@dataclass(frozen=True, slots=True)
class ReportTaken:
    term: int
    number: int
