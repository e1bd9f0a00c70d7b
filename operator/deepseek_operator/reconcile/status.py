"""The status that a plan leaves: members, counts, conditions, and the one sentence of `dsj why`.

Conditions are made anew each time from what is seen; only the time of their last transition is taken over.
"""

from collections.abc import Iterator
from typing import NamedTuple

from deepseek_operator.api.conditions import derive_phase, get, set_condition
from deepseek_operator.api.status import Columns, ConditionType, JobEvent, JobStatus, MemberStatus, RoleStatus
from deepseek_operator.api.times import rfc3339
from deepseek_operator.reconcile.draft import Draft
from deepseek_operator.reconcile.observe import MemberSeen
from deepseek_operator.reconcile.policies import rollout
from deepseek_operator.reconcile.policies.lifecycle import disbelieved
from deepseek_operator.reconcile.policies.suspend import suspending
from deepseek_runtime.contract.exit_codes import OK
from deepseek_runtime.contract.names import COMMAND, LABEL_JOB, LABEL_ROLE, Member, Role

ETCD_SILENCE = 15.0
"""Seconds of silence after which people are told; etcd restarted on one machine is back long before."""
REGISTERS_WITHIN = 60.0
CRASH_LOOP = 3
"""Failures in a row, without work in between, after which a seat in back-off is called Blocked."""


class Saying(NamedTuple):
    type: ConditionType
    true: bool
    reason: str
    message: str = ""


def describe(draft: Draft) -> None:
    """Writes everything of the status that follows from the rest of the draft."""
    members = tuple(_members(draft))
    draft.change(
        observed_generation=draft.intent.observed_generation,
        members=members,
        servers=_role(draft, "server", members),
        workers=_role(draft, "worker", members),
        selector="" if draft.intent.local else f"{LABEL_JOB}={draft.intent.job},{LABEL_ROLE}=worker",
    )
    draft.change(columns=_columns(draft))
    sayings = _sayings(draft)
    conditions = draft.status.conditions
    _tell_blocked(draft, sayings)
    for said in sayings:
        page = f" (docs/reasons/{said.reason}.md)" if said.type == "Blocked" and said.true else ""
        conditions = set_condition(
            conditions, said.type, said.true, said.reason, said.message + page,
            now=draft.now, generation=draft.intent.observed_generation,
        )  # fmt: skip
    message = _why(draft, {s.type: s for s in sayings})
    draft.change(conditions=conditions, phase=derive_phase(conditions), message=message)


def _tell_blocked(draft: Draft, sayings: list[Saying]) -> None:
    """An event when something begins to block. What the store does, the chief tells itself."""
    said = next(s for s in sayings if s.type == "Blocked")
    before = get(draft.status.conditions, "Blocked")
    known = before is not None and (before.status, before.reason) == ("True", said.reason)
    if said.true and not known and said.reason not in ("StoreUnreachable", "CheckpointFailed"):
        draft.note(said.reason, said.message, warning=True)


def _members(draft: Draft) -> Iterator[MemberStatus]:
    known = {Member(m.role, m.index, m.incarnation): m for m in draft.status.members}
    for member in draft.seen.members:
        if not member.alive or member.member in draft.delete:
            continue
        before = known.get(member.member)
        registration = draft.seen.view.registered(member.member)
        ran = registration is not None or (before is not None and before.phase == "running")
        yield MemberStatus(
            role=member.role,
            index=member.index,
            incarnation=member.incarnation,
            phase="running" if ran else "starting",
            node=member.node,
            pid=member.pid,
            started=member.started,
            trained=registration.trained if registration else before.trained if before else 0,
            terminating=draft.asked(member),
        )
    seen = {m.member for m in draft.seen.members}
    for new in draft.create:
        if new in seen:
            continue
        yield MemberStatus(role=new.role, index=new.index, incarnation=new.incarnation, phase="starting")


def _role(draft: Draft, role: Role, members: tuple[MemberStatus, ...]) -> RoleStatus:
    before = draft.status.servers if role == "server" else draft.status.workers
    staying = [m for m in members if m.role == role and not m.terminating]
    ready = sum(m.phase == "running" for m in staying)
    return before.model_copy(update={"desired": draft.intent.desired(role), "replicas": len(staying), "ready": ready})


def _columns(draft: Draft) -> Columns:
    status, progress = draft.status, draft.status.progress
    steps = progress.steps if progress is not None and progress.steps else draft.intent.steps
    loss = None if progress is None else progress.loss
    saved = None if progress is None else progress.checkpoint_time
    return Columns(
        step=f"{progress.step if progress is not None else 0}/{steps or '?'}",
        workers=f"{status.workers.ready}/{status.workers.desired}",
        servers=f"{status.servers.ready}/{status.servers.desired}",
        loss="-" if loss is None else f"{loss:.4g}",
        checkpoint=None if saved is None else rfc3339(saved),
    )


def _sayings(draft: Draft) -> list[Saying]:
    status, over = draft.status, draft.over()
    succeeded = over and status.exit_code == OK
    leaving = not over and status.done_since is None and suspending(draft)
    gone = not status.members
    failed = Saying("Failed", False, "NotFailed")
    if over and not succeeded:
        before = get(status.conditions, "Failed")
        failed = Saying("Failed", True, draft.failed or (before.reason if before else "Failed"), status.message)
    suspended = Saying("Suspended", False, "NotSuspended")
    rolling = leaving and rollout.rolling(draft) and not draft.intent.suspend
    if leaving and not rolling:
        suspended = Saying("Suspended", gone, "Suspended" if gone else "Draining", status.drain_outcome)
    counting = not over and status.done_since is not None
    quiet = over or leaving or counting
    end = "Succeeded" if succeeded else "Failed" if over else "NotFinished"
    return [
        Saying("Created", True, "Accepted"),
        Saying("Running", True, "Counting", "all steps are done; the samples are being counted")
        if counting
        else Saying("Running", False, "Finished" if over else "RollingOut" if rolling else suspended.reason)
        if quiet
        else _running(draft),
        _rolling(draft) if rolling else Saying("Restarting", False, "NothingLost") if quiet else _restarting(draft),
        Saying("Degraded", False, "AllWell") if over or counting else _degraded(draft, leaving),
        Saying("Blocked", False, "NothingBlocks") if quiet else _blocked(draft),
        suspended,
        Saying("Succeeded", succeeded, "AllStepsDone" if succeeded else "NotFinished"),
        failed,
        Saying("Finished", over, end, status.message if over else ""),
    ]


def _running(draft: Draft) -> Saying:
    status = draft.status
    if not status.term.number:
        return Saying("Running", False, "WaitingForServers", "the first term begins when all servers have registered")
    if status.opened < status.term.number:
        return Saying("Running", False, "TermOpening", f"term {status.term.number} is not open yet")
    if not status.workers.ready:
        return Saying("Running", False, "WaitingForWorkers", "no worker has registered yet")
    return Saying("Running", True, "Training")


def _restarting(draft: Draft) -> Saying:
    lost = [
        f"{r.role} {r.index} ({r.cause})"
        for r in draft.status.recoveries
        if r.seconds is None
        and ((r.role == "server" and r.index < draft.intent.servers) or
             (r.role == "worker" and r.index < draft.intent.workers))
    ]  # fmt: skip
    if not lost:
        return Saying("Restarting", False, "NothingLost")
    return Saying("Restarting", True, "MemberLost", f"being replaced: {', '.join(lost)}")


def _rolling(draft: Draft) -> Saying:
    outcome = f" ({draft.status.drain_outcome})" if draft.status.drain_outcome else ""
    cause = "the Secrets with their keys are gone or hold others"
    if not rollout.keys_lost(draft):
        cause = "what they are made from has changed"
    text = f"all members are replaced, because {cause}; first they drain{outcome}"
    return Saying("Restarting", True, "RollingOut", text)


def _degraded(draft: Draft, leaving: bool) -> Saying:
    since, now = draft.seen.view.unknown_since, draft.seen.now
    if since is not None and draft.status.term.number:
        if now.monotonic - since >= ETCD_SILENCE:
            return Saying(
                "Degraded", True, "EtcdUnreachable",
                "etcd does not answer: training goes on, but no server can be replaced until it is back",
            )  # fmt: skip
        draft.wake_at(now.wall + since + ETCD_SILENCE - now.monotonic)
    status, least = draft.status, draft.intent.workers_min
    held = draft.seen.view.term
    begun = held is not None and held.number == status.term.number <= status.opened
    if not leaving and begun and status.workers.ready < least:
        text = f"{status.workers.ready} worker(s) at work, workers.min is {least}: training goes on, slower"
        return Saying("Degraded", True, "TooFewWorkers", text)
    wrong = "" if leaving else disbelieved(draft)
    if wrong:
        return Saying("Degraded", True, "FinishNotBelieved", wrong)
    if not leaving and status.progress is not None and status.progress.checkpoint_problem:
        text = f"training goes on without new checkpoints: {status.progress.checkpoint_problem}"
        return Saying("Degraded", True, "CheckpointFailed", text)
    return Saying("Degraded", False, "AllWell")


def _blocked(draft: Draft) -> Saying:
    obstacle = _obstacle(draft)
    if obstacle is not None:
        return obstacle
    store = _store_blocks(draft)
    if store is not None:
        return store
    for role in ("server", "worker"):
        for index in range(draft.intent.servers if role == "server" else draft.intent.workers):
            known = draft.status.seats.get(f"{role}/{index}")
            if known and known.failures >= CRASH_LOOP and not _working(draft, role, index):
                failure = draft.status.last_failure
                last = f"; the last: {failure.message or failure.reason}" if failure else ""
                text = f"{role} {index} ended {known.failures} times in a row before it did any work{last}"
                return Saying("Blocked", True, "CrashLoop", f"{text}. {_look(draft, role, index)}")
    for member in draft.seen.members:
        if _silent(draft, member):
            text = f"{member.role} {member.index} has not registered within {REGISTERS_WITHIN:g} s"
            return Saying("Blocked", True, "NotRegistered", f"{text}. {_look(draft, member.role, member.index)}")
    return Saying("Blocked", False, "NothingBlocks")


def _obstacle(draft: Draft) -> Saying | None:
    """What the executor says: first what keeps everybody from starting, then whoever cannot."""
    whole = draft.seen.obstacle
    if whole is not None:
        return Saying("Blocked", True, whole.reason, f"{whole.message}. {whole.remedy}")
    for member in draft.seen.members:
        found = member.waiting
        if found is None or not member.alive or draft.leaving(member):
            continue
        if draft.now >= found.after:
            text = f"{member.role} {member.index}: {found.message}. {found.remedy}"
            return Saying("Blocked", True, found.reason, text)
        draft.wake_at(found.after)
    return None


def _store_blocks(draft: Draft) -> Saying | None:
    """The checkpoint storage keeps the job from beginning, from going on, or from its end."""
    progress, status = draft.status.progress, draft.status
    if progress is None:
        return None
    if progress.opening_problem and status.opened < status.term.number:
        return Saying("Blocked", True, "StoreUnreachable", progress.opening_problem)
    if progress.checkpoint_problem and 0 < progress.steps <= progress.step:
        text = f"all steps are done, but the last checkpoint cannot be stored yet: {progress.checkpoint_problem}"
        return Saying("Blocked", True, "CheckpointFailed", text)
    return None


def _working(draft: Draft, role: str, index: int) -> bool:
    return any(m.role == role and m.index == index and m.phase == "running" for m in draft.status.members)


def _silent(draft: Draft, member: MemberSeen) -> bool:
    """Alive, in contact with nobody: never registered in its first minute, although etcd answers."""
    view, now = draft.seen.view, draft.seen.now
    known = {Member(m.role, m.index, m.incarnation) for m in draft.status.members if m.phase == "running"}
    if member.phase != "running" or draft.leaving(member) or not view.fresh or member.member in known:
        return False
    late = member.since + REGISTERS_WITHIN
    if now.wall >= late:
        return True
    draft.wake_at(late)
    return False


def _look(draft: Draft, role: str, index: int) -> str:
    command = COMMAND if draft.intent.local else f"kubectl {COMMAND}"
    return f"See `{command} logs {draft.intent.job} --role {role} --index {index}`"


def _why(draft: Draft, said: dict[ConditionType, Saying]) -> str:
    if draft.over():
        return draft.status.message
    for type in ("Blocked", "Restarting", "Degraded"):
        if said[type].true:
            return said[type].message
    if said["Suspended"].reason == "Draining":
        problem = draft.status.progress.checkpoint_problem if draft.status.progress else ""
        drains = "the job drains: workers push what they hold, then a checkpoint is written"
        return f"{drains}; so far it could not be: {problem}" if problem else drains
    if said["Suspended"].true:
        remedy = f"{COMMAND} run --resume {draft.intent.job}" if draft.intent.local else "set spec.suspend to false"
        return f"the job is suspended; to go on: {remedy}"
    return said["Running"].message


KEPT_EVENTS = 50


def with_events(status: JobStatus, new: tuple[JobEvent, ...]) -> JobStatus:
    """The status with a plan's events at its end, equal ones in a row counted as one; the newest 50 stay.

    On one machine only: in a cluster events are objects of their own.
    """
    events = list(status.events)
    for event in new:
        last = events[-1] if events else None
        if last is not None and (last.type, last.reason, last.message) == (event.type, event.reason, event.message):
            events[-1] = event.model_copy(update={"count": last.count + event.count})
        else:
            events.append(event)
    return status.model_copy(update={"events": tuple(events[-KEPT_EVENTS:])})
