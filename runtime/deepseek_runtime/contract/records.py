"""The values in etcd, and the record that a member leaves when it exits. JSON, unknown fields ignored."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from deepseek_runtime.contract.names import Role

Count = Annotated[int, Field(ge=0)]


class Record(BaseModel):
    """Frozen; reads tolerate unknown fields, so that versions may differ by one."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")


class ServerSeat(Record):
    """A server that a term names: which process, and where workers and servers dial it."""

    index: Count
    incarnation: Count
    address: str


class TermRecord(Record):
    """`term`: a generation of the set of servers (protocol.md, Terms 1). Written by the operator alone."""

    number: Annotated[int, Field(ge=1)]
    servers: tuple[ServerSeat, ...]
    """In order of index; servers[0] is the chief."""
    sources: tuple[ServerSeat, ...] = ()
    """Members that leave with this term and may still hold spans."""
    restore: bool = False
    """All load the newest checkpoint of the lineage, even if every span could be found."""


class Registration(Record):
    """`members/<role>/<index>`: gone when the lease of its member ends (10 s)."""

    address: str = ""
    """tcp://ip:port for servers, empty for workers: nobody dials a worker."""
    incarnation: Count
    state: Literal["starting", "ready", "draining"] = "ready"
    trained: Count = 0
    """Workers: ranges finished by this incarnation; recovery is over when this is above 0."""


class Finished(Record):
    term: Count
    step: Count


class State(Record):
    """`state`, by the chief, at once, and again if etcd lost it."""

    opened: Count = 0
    """The newest term that has opened; 0 before the first."""
    finished: Finished | None = None
    drained: Count = 0
    """The term in which a drain was completed (checkpoint written, workers gone); 0 if none."""


class CheckpointRef(Record):
    term: Count
    step: Count


class GuardState(Record):
    """What loss calibration found and did (guard/), and what the next chief goes on with."""

    step: Literal["calm", "precise", "held", "slow", "back"] = "calm"
    """What is being done about implausible losses: the last of these, and those before it."""
    anomalies: Count = 0
    """Implausible ranges since the run was last calm."""
    learning_rate_factor: float = 1.0
    held: Count = 0
    """Ranges whose update was held back, in the whole job."""
    roll_backs: Count = 0
    loss_expected: float | None = None
    loss_limit: float | None = None
    """The greatest plausible loss of the next range; none while the first ones are being learnt from."""
    loss_memory: dict[str, float] = {}
    update_memory: dict[str, float] = {}
    saved_loss_memory: dict[str, float] = {}
    saved_update_memory: dict[str, float] = {}
    """As it was at the newest checkpoint."""


class Progress(Record):
    """`progress`, by the chief, at most every `progressSeconds`. All sums are of the whole job."""

    term: Count
    step: Count
    steps: Count
    epoch: float = 0.0
    loss: float | None = None
    metrics: dict[str, float] = {}
    """The last evaluation's."""
    metrics_step: Count | None = None
    samples_per_second: float = 0.0
    workers: Count = 0
    """Live workers, as the chief sees them."""
    checkpoint: CheckpointRef | None = None
    checkpoint_time: float | None = None
    """Seconds since the Unix epoch."""
    checkpoint_problem: str = ""
    """Why the newest checkpoint could not be stored; empty once one was."""
    opening_problem: str = ""
    """Why the present term does not open; empty once it has. `term` and the rest are then of the one before."""
    wire_bytes: Count = 0
    dense_bytes: Count = 0
    local_steps: Count = 1
    samples_counted: bool = False
    """Whether the next three are a count, made when all was done (audit.py); else nobody has counted yet."""
    samples_lost: Count = 0
    samples_repeated: Count = 0
    samples_rolled_back: Count = 0
    samples_skipped: Count = 0
    residual_lost: float = 0.0
    """Sum of |e| that no server will ever see (killed workers, roll-backs)."""
    pushed: float = 0.0
    """Sum of |d| of all pushes: what residual_lost is to be read against."""
    staleness_p50: float = 0.0
    staleness_p95: float = 0.0
    loss_scale: float | None = None
    guard: GuardState | None = None
    """None: loss calibration is off."""
    parameters: Count = 0
    ranges_done: Count = 0
    last_range_time: float | None = None
    longest_gap: float = 0.0
    """Seconds: the longest time without a range done since the term opened first."""
    events: tuple[str, ...] = ()
    """The newest messages of the runtime (at most 20), each `<id> <Reason> <text>`, ids only growing."""


class Request(Record):
    """`requests/<id>`, chief -> operator; dropped when `term` is no longer the present one."""

    kind: Literal["roll_back", "reshard", "fail"]
    term: Count
    reason: str = ""
    code: int | None = None
    """kind `fail`: the exit code that says whose mistake it was."""


class Command(Record):
    """`commands/<id>`, operator -> chief; acknowledged in place."""

    kind: Literal["checkpoint", "drain", "evaluate"]
    acknowledged: bool = False
    outcome: str = ""


class ExitRecord(Record):
    """What a member leaves behind: exits/<member>.json here, /dev/termination-log in pods."""

    code: int
    reason: str
    """CamelCase, one word: Finished, Drained, UserCodeRaised, DataSetsDiffer ..."""
    message: str = ""
    """One or two sentences for the person who wrote the job: what, where, what would be right."""
    range: int | None = None
    """The range in which it happened; the same one twice in a row is the user's mistake."""
    first_range: bool = False
    """Whether it was this incarnation's first range."""
    role: Role | None = None
    index: int | None = None
    incarnation: int | None = None
