"""One frozen look at a job: its members, what etcd says, the last status, and the clocks.

Silence of etcd is a value of its own (`EtcdView.unknown_since`): who is alive is said by the executor alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol

from deepseek_operator.api.status import JobStatus
from deepseek_operator.api.times import seconds, stamp
from deepseek_runtime.contract.names import Member, Role
from deepseek_runtime.contract.records import (
    Command,
    ExitRecord,
    Progress,
    Registration,
    Request,
    State,
    TermRecord,
)

Phase = Literal["starting", "running", "gone"]


def seat(role: Role, index: int) -> str:
    """The key of a seat in JobStatus.incarnations and JobStatus.seats."""
    return f"{role}/{index}"


@dataclass(frozen=True, slots=True)
class Now:
    """wall: seconds since the Unix epoch, what is remembered; monotonic: seconds, never set back."""

    wall: float
    monotonic: float


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a member, or a whole job, cannot start. reason: of the condition Blocked, with a page in docs/reasons/."""

    reason: str
    message: str
    """What was found: one sentence without a full stop."""
    remedy: str
    """What to do, as an order."""
    after: float = 0.0
    """Not told before this time (seconds since the Unix epoch): it may pass by itself."""


@dataclass(frozen=True, slots=True)
class MemberSeen:
    """A member as its executor sees it. A gone one is listed until a plan deletes it: each end is judged once."""

    role: Role
    index: int
    incarnation: int
    phase: Phase
    exit: ExitRecord | None = None
    """What it left behind; None while it lives, and None when it was killed."""
    signal: int | None = None
    """What killed it, where that is known."""
    ended: float | None = None
    """When it was seen to be gone, seconds since the Unix epoch."""
    terminating: bool = False
    """Asked to leave."""
    node: str = ""
    pid: int | None = None
    started: str = ""
    since: float = 0.0
    """When it was made, seconds since the Unix epoch."""
    generation: str = ""
    """Of the user's intent that it was made for; empty where that is not known."""
    made: bool = True
    """False: it could not be made yet; to create it again is to try again."""
    waiting: Obstacle | None = None
    """Why it cannot start."""
    node_lost: bool = False
    """Its node says nothing any more. Alone that is no death: see policies/nodes.py."""
    disrupted: str = ""
    """Why it leaves or left, if that is neither its own fault nor our doing: `its node n1 is lost`."""

    @property
    def member(self) -> Member:
        return Member(self.role, self.index, self.incarnation)

    @property
    def alive(self) -> bool:
        return self.phase != "gone"


@dataclass(frozen=True, slots=True)
class EtcdView:
    """What etcd holds of the job, as far as it is known."""

    term: TermRecord | None = None
    registrations: Mapping[tuple[Role, int], Registration] = field(default_factory=lambda: MappingProxyType({}))
    state: State | None = None
    progress: Progress | None = None
    requests: Mapping[str, Request] = field(default_factory=lambda: MappingProxyType({}))
    commands: Mapping[str, Command] = field(default_factory=lambda: MappingProxyType({}))
    unknown_since: float | None = None
    """Monotonic; None while etcd answers. Else everything above is what was last known."""
    listed_at: float | None = None
    """Monotonic: when all of it was last listed."""

    @property
    def fresh(self) -> bool:
        return self.unknown_since is None

    def registered(self, member: Member) -> Registration | None:
        """The registration of exactly this incarnation."""
        found = self.registrations.get((member.role, member.index))
        return found if found is not None and found.incarnation == member.incarnation else None


@dataclass(frozen=True, slots=True)
class EtcdSeen:
    """The local etcd's process: which start this is (0 the first); when the one before was lost (wall seconds), how."""

    incarnation: int = 0
    lost_at: float | None = None
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    members: tuple[MemberSeen, ...]
    view: EtcdView
    status: JobStatus
    now: Now
    etcd: EtcdSeen | None = None
    """None: etcd is not ours to start."""
    obstacle: Obstacle | None = None
    """Why no member may be created at all; those that live go on."""

    def living(self, role: Role) -> list[MemberSeen]:
        return [m for m in self.members if m.role == role and m.alive]


class Source(Protocol):
    """What `observe` needs of membership.View."""

    @property
    def term(self) -> TermRecord | None: ...
    @property
    def registrations(self) -> Mapping[tuple[Role, int], Registration]: ...
    @property
    def state(self) -> State | None: ...
    @property
    def progress(self) -> Progress | None: ...
    @property
    def requests(self) -> Mapping[str, Request]: ...
    @property
    def commands(self) -> Mapping[str, Command]: ...
    @property
    def unknown_since(self) -> float | None: ...
    @property
    def listed_at(self) -> float | None: ...


def observe(
    members: Iterable[MemberSeen],
    view: Source | None,
    status: JobStatus,
    now: Now,
    etcd: EtcdSeen | None = None,
    obstacle: Obstacle | None = None,
) -> Observed:
    """Joins what the executor, one prefix watch and the last status say. `view` None: etcd has never answered."""
    if view is None:
        known = EtcdView(unknown_since=now.monotonic)
    else:
        known = EtcdView(
            term=view.term,
            registrations=MappingProxyType(dict(view.registrations)),
            state=view.state,
            progress=_progress(view.progress, status.progress),
            requests=MappingProxyType(dict(view.requests)),
            commands=MappingProxyType(dict(view.commands)),
            unknown_since=view.unknown_since if view.listed_at is not None else now.monotonic,
            listed_at=view.listed_at,
        )
    ordered = sorted(members, key=lambda m: (m.role, m.index, m.incarnation))
    return Observed(tuple(ordered), known, status, now, etcd, obstacle)


def _progress(seen: Progress | None, last: Progress | None) -> Progress | None:
    """A chief whose term has not opened counts no steps, and an emptied etcd tells of none: they are as last known."""
    if seen is None:
        return None
    if seen.steps or last is None:
        return seen.model_copy(update={name: _as_stored(getattr(seen, name)) for name in _TIMES})
    return last.model_copy(update={"opening_problem": seen.opening_problem, "events": seen.events})


_TIMES = ("checkpoint_time", "last_range_time")


def _as_stored(wall: float | None) -> float | None:
    """As the resource has it: else whoever takes over would find another time than was told, and write."""
    return None if wall is None else seconds(stamp(wall))
