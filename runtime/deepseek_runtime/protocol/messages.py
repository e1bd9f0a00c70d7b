"""What members say to one another. Plain data; transport/wire.py and encoding.py put it on the wire. What a chief and
its servers say is in server_orders.py, what servers say to one another in neighbours.py.

The sender is known from the transport (its authenticated identity) and is not repeated in the messages.
Each message carries the term in which it was sent; those about spans carry the branch too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from deepseek_runtime.contract.records import TermRecord
from deepseek_runtime.guard.caution import Caution, Held
from deepseek_runtime.protocol.files import FileRef
from deepseek_runtime.protocol.neighbours import Answer, Confirmed, Fetch, Forward, HandOver
from deepseek_runtime.protocol.server_orders import AppliedReport, Done, Joined, Order, ReportTaken

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
Payload = bytes | memoryview


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
    caution: Caution | None = None
    """None: losses are not guarded."""


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
    held: Held | None = None
    """`unable` because the range is implausible, not because it is non-finite."""


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
    | Forward
    | Confirmed
    | Fetch
    | HandOver
)

ToChief = Hello | Beat | Report | Joined | Done | AppliedReport
