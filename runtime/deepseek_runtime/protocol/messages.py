"""What members say to one another. Plain data; transport/wire.py and encoding.py put it on the wire.

The sender is known from the transport (its authenticated identity) and is not repeated in the messages.
Each message carries the term in which it was sent; those about spans carry the branch too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from deepseek_runtime.contract.records import TermRecord
from deepseek_runtime.protocol.applied import AppliedSet

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
Payload = bytes | memoryview
Answer = Literal["applied", "duplicate", "stale"]


@dataclass(frozen=True, slots=True)
class Lease:
    """One worker's right to one range. `number` is unique in its term."""

    term: int
    number: int
    g: int
    stamp: int
    """Ranges done when it was given."""
    w: float
    """Weight of its push."""
    zero: bool = False
    """Stayed non-finite too often, and a span has it already: push d = 0 (protocol.md, Chief 4)."""


@dataclass(frozen=True, slots=True)
class FileRef:
    """A whole file in the store."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint as the chief hands it round."""

    term: int
    step: int
    parts: Mapping[int, FileRef]
    """By span."""
    weights_only: bool = False
    """restoreFrom with other samples, batchSize, localSteps or seed: no applied sets."""
    foreign: bool = False
    """The parts lie where restoreFrom says, not in the job's own folder."""
    cut: int = -1
    """The last range of a shorter job, which was cut at its end: trained again, whole."""


# --- worker to chief -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """Joins the chief of `term`; repeated until welcomed."""

    term: int
    branch: int
    samples: int
    fingerprint: str
    claim: Lease | None = None


@dataclass(frozen=True, slots=True)
class Beat:
    """Sign of life, each second, and at once when a worker begins to want a range."""

    term: int
    wants: bool
    newest_lease: int
    """Number of the newest lease it got in this term: a lost grant is given again."""
    unable: int = 0
    """Number of a lease whose range stays non-finite; 0: none."""
    given_up: int = 0
    """Number of a lease whose push was answered `stale` by some span; 0: none. That span may have known an older end
    of it than the chief does."""
    reason: str = ""
    trained: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """Told to the chief until it is acknowledged by its `key`."""

    term: int
    key: str
    kind: Literal["evaluated", "moments", "flushed", "leaving", "offer"]
    body: Mapping[str, Any] = field(default_factory=dict)


# --- chief to worker -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Welcome:
    term: int
    branch: int
    space: Mapping[str, Any]
    samples: int
    lease: Lease | None
    """The claimed range under a new lease; None: claim nothing, or refused."""
    fixed: FileRef | None
    moments: FileRef | None
    step: int = 0
    """Steps done; 0: the weights are the initial ones."""
    loss_scale: float | None = None
    """The lowest of all workers when last heard of."""


@dataclass(frozen=True, slots=True)
class Grant:
    term: int
    lease: Lease


@dataclass(frozen=True, slots=True)
class Ask:
    """A ticket for one worker, repeated until its report with the same key arrives."""

    term: int
    key: str
    kind: Literal["evaluate", "moments", "flush", "leave", "initialise", "send_initial"]
    step: int = 0
    number: int = 0
    finished: bool = False
    """kind leave: the job is over, not only this worker's part."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    term: int
    key: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The chief does not know this worker (any more): say hello again."""

    term: int


@dataclass(frozen=True, slots=True)
class NewTerm:
    """Any server to anybody who speaks in an older term."""

    record: TermRecord


# --- worker to servers and back --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Push:
    """One range (or a residual) for the spans of one server. Sent again, unchanged but for term and lease, until
    each span has answered."""

    term: int
    branch: int
    sequence: int
    lease: Lease | None
    """None: a residual, without a range."""
    w: float
    samples: int
    parts: Mapping[int, Payload]
    residuals: Mapping[int, float]
    """By span: sum of |e| that the worker keeps if this part is applied."""
    magnitudes: Mapping[int, float]
    """By span: sum of |d| of this range."""
    integers: I64 | None = None
    """For the server of span 0."""
    stats: Mapping[str, Any] = field(default_factory=dict)
    """For the chief's metrics: loss, seconds, loss_scale."""


@dataclass(frozen=True, slots=True)
class Answers:
    term: int
    branch: int
    sequence: int
    answers: Mapping[int, Answer]


@dataclass(frozen=True, slots=True)
class Version:
    """Of a span's published copy: how often published within a line."""

    line: int
    count: int


@dataclass(frozen=True, slots=True)
class Pull:
    term: int
    branch: int
    number: int
    """Counts the worker's pulls, so that a late reply is not taken for the present one's."""
    versions: Mapping[int, Version | None]
    """The spans asked for, and what the worker holds of them."""


@dataclass(frozen=True, slots=True)
class Update:
    """What brings one span's copy up to `version`: payloads to be added in order, or the copy itself."""

    version: Version
    payloads: tuple[Payload, ...] = ()
    copy: Payload | None = None


@dataclass(frozen=True, slots=True)
class Published:
    term: int
    branch: int
    number: int
    updates: Mapping[int, Update]
    integers: I64 | None = None


@dataclass(frozen=True, slots=True)
class InitialPart:
    """Initial weights of one server's spans, from the initialiser."""

    term: int
    number: int
    values: Mapping[int, F32]
    integers: I64 | None = None


@dataclass(frozen=True, slots=True)
class InitialTaken:
    term: int
    number: int


# --- chief to servers and back ---------------------------------------------------------------------------------------


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
    """Order: make ready these spans, from a checkpoint (source) or from what you hold (None). Not yet yours."""

    branch: int
    space: Mapping[str, Any]
    spans: tuple[int, ...]
    source: Source | None
    samples: int
    """Length of the data set: what the schedule follows from."""


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


Message = (
    Hello
    | Beat
    | Report
    | Welcome
    | Grant
    | Ask
    | Acknowledged
    | Unknown
    | NewTerm
    | Push
    | Answers
    | Pull
    | Published
    | InitialPart
    | InitialTaken
    | Joined
    | Order
    | Done
    | AppliedReport
    | ReportTaken
)

ToChief = Hello | Beat | Report | Joined | Done | AppliedReport
