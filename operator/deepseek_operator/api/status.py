"""The status of a DeepseekJob, as plans read and write it: `status.json` on one machine; in a cluster the resource has
it in another form (stored_status.py). camelCase in JSON.

Conditions carry the truth; `phase` is derived from them for people and never read back.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from deepseek_operator.api.times import Time
from deepseek_runtime.contract.names import Role
from deepseek_runtime.contract.records import Progress

ConditionType = Literal[
    "Created",
    "Running",
    "Restarting",
    "Degraded",
    "Suspended",
    "Succeeded",
    "Failed",
    "Finished",
    "Blocked",
    "Isolated",
]


class Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class Condition(Part):
    type: ConditionType
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    last_transition_time: Time
    """RFC 3339, UTC."""
    observed_generation: int = 0


class Failure(Part):
    """The newest failure: who, where, how, and what to do."""

    role: Role
    index: int
    incarnation: int = 0
    node: str = ""
    exit_code: int | None = None
    """None: killed, no exit seen."""
    reason: str
    message: str = ""
    time: Time


class RoleStatus(Part):
    desired: int = 0
    replicas: int = 0
    """That are there and not asked to leave, ready or not."""
    ready: int = 0
    """Registered, and named by the term (servers) or admitted by the chief (workers)."""
    restarts: int = 0


class Seat(Part):
    index: int
    incarnation: int
    address: str


class TermStatus(Part):
    """The term record as last decided: written here first, then to etcd."""

    number: int = 0
    servers: tuple[Seat, ...] = ()
    sources: tuple[Seat, ...] = ()
    restore: bool = False


class MemberStatus(Part):
    role: Role
    index: int
    incarnation: int
    phase: Literal["starting", "running", "gone"]
    node: str = ""
    pid: int | None = None
    started: str = ""
    """Of the process, as /proc counts it (clock ticks since boot), here; the pod's start in a cluster."""
    trained: int = 0
    terminating: bool = False
    """Asked to leave: its exit is no failure."""


class SeatStatus(Part):
    """What the restart policy remembers of one `<role>/<index>`, whoever sits there."""

    judged: int = -1
    """The newest incarnation whose end has been judged: each end counts once."""
    failures: int = 0
    """In a row, without work in between: what the back-off grows with."""
    last: float = 0.0
    """The last failure, seconds since the Unix epoch."""


class Suspect(Part):
    """An exception in a range (None: outside of any, as in evaluate): the same twice is the user's mistake."""

    range: int | None
    reason: str
    message: str


class Episode(Part):
    """Members lost together: one outage, which counts once against backoffLimit."""

    cause: str
    """Exit code and reason, or the signal: without what tells one member's words from another's."""
    since: float
    """Of the first loss, seconds since the Unix epoch."""
    seats: tuple[str, ...]
    """`<role>/<index>`; whoever is lost a second time begins another episode."""


class DrainStatus(Part):
    """A drain under way: in which term it was asked for, and since when (seconds since the Unix epoch)."""

    term: int
    since: float


class Recovery(Part):
    """One lost member, from its loss until its replacement has itself finished a range (or etcd holds all again)."""

    role: str
    index: int
    at_step: int
    seconds: float | None = None
    """Until the replacement worked; None while it has not."""
    longest_gap: float | None = None
    """Seconds: the longest time without a range done, from the loss until the replacement worked."""
    restored_step: int | None = None
    """The checkpoint that all went back to; None: nobody went back."""
    cause: str = ""
    incarnation: int = 0
    """Of the replacement that is waited for."""
    lost_at: float = 0.0
    """Seconds since the Unix epoch; last_range and gap_before are Progress.last_range_time and longest_gap then."""
    last_range: float | None = None
    gap_before: float = 0.0


class JobEvent(Part):
    time: str
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    count: int = 1


class Columns(Part):
    """What `kubectl get` shows: a printer column cannot join two fields, and is filled from the first second on."""

    step: str = "-"
    """`1200/5000`; the total is `?` until the length of the data set is known."""
    workers: str = "-"
    """Ready and desired: `2/3`."""
    servers: str = "-"
    """Ready and desired."""
    loss: str = "-"
    checkpoint: Time | None = None
    """When the newest checkpoint was complete: RFC 3339, UTC; its age costs no write."""


class JobStatus(Part):
    phase: str = "Pending"
    observed_generation: int = 0
    conditions: Annotated[
        tuple[Condition, ...],
        Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
    ] = ()
    columns: Columns = Columns()
    selector: str = ""
    """Labels of the workers' pods, for the scale subresource and an HPA; empty on one machine."""
    servers: RoleStatus = RoleStatus()
    workers: RoleStatus = RoleStatus()
    term: TermStatus = TermStatus()
    opened: int = 0
    incarnations: dict[str, int] = {}
    """`<role>/<index>` -> the newest incarnation ever made: numbers are never used again."""
    seats: dict[str, SeatStatus] = {}
    """`<role>/<index>` -> what the restart policy remembers of it."""
    suspects: tuple[Suspect, ...] = ()
    """The newest 16."""
    drain: DrainStatus | None = None
    drain_outcome: str = ""
    """What came of the newest drain, for people; empty while one is under way."""
    generation: str = ""
    """Hash of the intent that the members run with; another one in the spec means that they are replaced."""
    keys: str = ""
    """Fingerprint of the public keys that the members know one another by; empty on one machine."""
    members: tuple[MemberStatus, ...] = ()
    progress: Progress | None = None
    """As the chief last wrote it (snake_case inside, as in etcd)."""
    last_failure: Failure | None = None
    restarts: int = 0
    """Episodes counted against backoffLimit since the last refill."""
    episode: Episode | None = None
    """The newest."""
    restarts_total: int = 0
    """Of each member."""
    refill_step: int = 0
    """The step at which the budget was last full."""
    recoveries: tuple[Recovery, ...] = ()
    events: tuple[JobEvent, ...] = ()
    """The newest 50, on one machine; in a cluster they are Events."""
    started: str = ""
    done_since: float | None = None
    """When the chief was first seen to say that all is done, while its count of the samples is waited for: seconds
    since the Unix epoch."""
    finished: str = ""
    message: str = ""
    """What `dsj why` says in one sentence; empty when all is well."""
    uid: str = ""
    exit_code: int | None = None
