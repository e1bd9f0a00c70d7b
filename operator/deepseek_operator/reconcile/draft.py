"""A plan while the policies write on it, and the Plan that it becomes."""

from dataclasses import dataclass, field

from deepseek_operator.api.status import Failure, JobEvent, JobStatus, SeatStatus
from deepseek_operator.api.times import stamp
from deepseek_operator.reconcile.intent import Intent
from deepseek_operator.reconcile.observe import MemberSeen, Observed, seat
from deepseek_runtime.contract.names import Member, Role
from deepseek_runtime.contract.records import Command, TermRecord


@dataclass(frozen=True, slots=True)
class Plan:
    """What an executor and the loop carry out, in this order: status saved, then delete, terminate, create, then etcd.

    members: all that should be there afterwards; create: those of them that are not there yet.
    terminate: asked to leave, killed when they do not. delete: killed at once if alive, and forgotten.
    term: to be written to etcd if that holds a lower number or none; `status.term` holds it already.
    requeue_after: seconds until something is due that no watch reports; None: nothing is.
    ended: the job has ended (done, failed or suspended) and no member is left.
    """

    status: JobStatus
    members: tuple[Member, ...] = ()
    create: tuple[Member, ...] = ()
    terminate: tuple[Member, ...] = ()
    delete: tuple[Member, ...] = ()
    term: TermRecord | None = None
    commands: tuple[tuple[str, Command], ...] = ()
    drop_commands: tuple[str, ...] = ()
    drop_requests: tuple[str, ...] = ()
    events: tuple[JobEvent, ...] = ()
    requeue_after: float | None = None
    ended: bool = False

    def writes(self, before: JobStatus) -> bool:
        """Whether carrying it out changes anything."""
        acts = self.create or self.terminate or self.delete or self.commands or self.drop_commands
        return bool(acts or self.term or self.drop_requests or self.events or self.status != before)


@dataclass(slots=True)
class Draft:
    intent: Intent
    seen: Observed
    status: JobStatus
    create: list[Member] = field(default_factory=list)
    terminate: list[Member] = field(default_factory=list)
    delete: list[Member] = field(default_factory=list)
    term: TermRecord | None = None
    commands: dict[str, Command] = field(default_factory=dict)
    drop_commands: list[str] = field(default_factory=list)
    drop_requests: list[str] = field(default_factory=list)
    events: list[JobEvent] = field(default_factory=list)
    failed: str = ""
    """Reason of the Failed condition, when this plan is the one that ends the job so."""
    due: list[float] = field(default_factory=list)
    """Wall seconds at which to plan again."""

    @property
    def now(self) -> float:
        return self.seen.now.wall

    def over(self) -> bool:
        """Succeeded or failed, once and for all."""
        return bool(self.status.finished)

    def change(self, **update: object) -> None:
        self.status = self.status.model_copy(update=update)

    def seat(self, role: Role, index: int) -> SeatStatus:
        return self.status.seats.get(seat(role, index), SeatStatus())

    def change_seat(self, role: Role, index: int, **update: object) -> None:
        changed = self.seat(role, index).model_copy(update=update)
        self.change(seats={**self.status.seats, seat(role, index): changed})

    def new_member(self, role: Role, index: int) -> Member:
        """Asks for a fresh incarnation of a seat: its number was never used before."""
        key = seat(role, index)
        member = Member(role, index, self.status.incarnations.get(key, -1) + 1)
        self.change(incarnations={**self.status.incarnations, key: member.incarnation})
        self.create.append(member)
        return member

    def make_again(self, member: MemberSeen) -> None:
        """Of one that could not be made: the same number, for nobody has ever had it."""
        self.create.append(member.member)

    def ask_to_leave(self, member: MemberSeen) -> None:
        if member.alive and not member.terminating and member.member not in self.delete:
            self.terminate.append(member.member)

    def remove(self, member: MemberSeen) -> None:
        if member.member not in self.delete:
            self.delete.append(member.member)

    def asked(self, member: MemberSeen) -> bool:
        """Whether it leaves because we want it to."""
        return member.terminating or member.member in self.terminate or member.member in self.delete

    def leaving(self, member: MemberSeen) -> bool:
        return bool(member.disrupted) or self.asked(member)

    def note(self, reason: str, message: str, *, warning: bool = False) -> None:
        kind = "Warning" if warning else "Normal"
        event = JobEvent.model_validate({"time": stamp(self.now), "type": kind, "reason": reason, "message": message})
        self.events.append(event)

    def wake_at(self, wall: float) -> None:
        self.due.append(wall)

    def fail(self, code: int, reason: str, message: str, failure: Failure | None = None) -> None:
        """The job has failed, for ever. reason: the Failed condition's; message: for the person who wrote it."""
        self.failed = reason
        self.change(finished=stamp(self.now), exit_code=code, message=message)
        if failure is not None:
            self.change(last_failure=failure)
        self.note(reason, message, warning=True)

    def holder(self, role: Role, index: int) -> MemberSeen | None:
        """Who sits in a seat: the living server that the term names, else the newest living member."""
        living = [m for m in self.seen.living(role) if m.index == index]
        if role == "server":
            named = {(s.index, s.incarnation) for s in self.status.term.servers}
            for member in living:
                if (member.index, member.incarnation) in named:
                    return member
        return max(living, key=lambda m: m.incarnation, default=None)

    def plan(self) -> Plan:
        gone = set(self.delete)
        fresh = set(self.create)
        kept = [m.member for m in self.seen.members if m.alive and m.member not in gone | fresh]
        left = [m for m in self.seen.members if m.member not in gone]
        over = self.over() or (self.intent.suspend and not self.create)
        wait = [max(0.0, at - self.now) for at in self.due]
        return Plan(
            status=self.status,
            members=tuple(kept + self.create),
            create=tuple(self.create),
            terminate=tuple(self.terminate),
            delete=tuple(self.delete),
            term=self.term,
            commands=tuple(self.commands.items()),
            drop_commands=tuple(self.drop_commands),
            drop_requests=tuple(self.drop_requests),
            events=tuple(self.events),
            requeue_after=min(wait, default=None),
            ended=over and not left,
        )
