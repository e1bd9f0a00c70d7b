"""Whose fault the end of a member was, whether the budget allows another try, and how long the seat stays empty.

Exit codes 64, 65, 66 and 78 end the job with the member's own message, and so does the same exception in the same range
a second time. Everything else is replaced: at once the first time, then after 1, 2, 4 ... 60 s, until the seat
has worked again. The budget is the job's, and is refilled by progress.

backoffLimit counts episodes: members lost within seconds, for one cause, each for the first time. A power loss or an
etcd that is away takes many and is one failure of the job, as for a JobSet (maxRestarts counts restarts of the whole
set); a Job's backoffLimit counts pods, which are each a whole try there. A crash loop counts every time: whoever is
lost again begins another episode.
"""

import re

from deepseek_operator.api.status import Episode, Failure, Suspect
from deepseek_operator.api.times import stamp
from deepseek_operator.reconcile.draft import Draft
from deepseek_operator.reconcile.observe import MemberSeen, seat
from deepseek_operator.reconcile.policies import recoveries
from deepseek_runtime.contract.exit_codes import CRASHED, OK, USER_CODE, is_users_mistake
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import ExitRecord

FINISHED_GRACE = 2.0
"""Seconds between a worker's exit 0 and its replacement: `finished` may still be on its way from etcd."""
LONGEST_BACKOFF = 60.0
SUSPECTS = 16
ASKED_TO_LEAVE = "asked to leave by somebody else before it had done any work"
"""Counted as a loss: else a member that is told so at each start would be started again for ever, without a pause."""
EPISODE = 10.0
"""Seconds: one outage reaches all members within; a replacement is seldom lost to the next so soon."""


def backoff(failures: int) -> float:
    """Seconds that a seat stays empty after so many failures in a row."""
    return 0.0 if failures <= 1 else min(LONGEST_BACKOFF, 2.0 ** (failures - 2))


def refill(draft: Draft) -> None:
    """The budget is full again when everySteps steps were done since the last failure (or since a roll-back)."""
    status = draft.status
    if status.progress is None or not status.restarts:
        return
    step = status.progress.step
    if step < status.refill_step:
        draft.change(refill_step=step)
    elif step - status.refill_step >= draft.intent.every_steps:
        draft.change(restarts=0, refill_step=step)


def judge(draft: Draft) -> None:
    """Judges the end of each member once. Stops at the one that ends the job."""
    refill(draft)
    _vanished(draft)
    for member in draft.seen.members:
        if member.alive or draft.over():
            continue
        judged = member.incarnation <= draft.seat(member.role, member.index).judged
        if not judged and not _expected(draft, member):
            if _perhaps_finished(draft, member):
                continue
            _ended(draft, member)
        _set_judged(draft, member)
        draft.remove(member)


def waiting(draft: Draft, member: MemberSeen) -> bool:
    """Whether the end of this member is still to be judged."""
    return not member.alive and member.member not in draft.delete


def _set_judged(draft: Draft, member: MemberSeen) -> None:
    if member.incarnation > draft.seat(member.role, member.index).judged:
        draft.change_seat(member.role, member.index, judged=member.incarnation)


def _expected(draft: Draft, member: MemberSeen) -> bool:
    """Asked to leave, or in a seat that is not wanted, or not the seat's present member."""
    if member.terminating or member.index >= draft.intent.desired(member.role):
        return True
    holder = draft.holder(member.role, member.index)
    return holder is not None and holder.incarnation > member.incarnation


def _perhaps_finished(draft: Draft, member: MemberSeen) -> bool:
    if member.exit is None or member.exit.code != OK or member.ended is None:
        return False
    if member.exit.reason == "Drained" or member.disrupted:
        return False
    until = member.ended + FINISHED_GRACE
    if draft.now >= until:
        return False
    draft.wake_at(until)
    return True


def _vanished(draft: Draft) -> None:
    """A member that was there and is not even listed any more (a deleted pod): replaced, not counted."""
    listed = {m.member for m in draft.seen.members}
    for known in draft.status.members:
        seen = Member(known.role, known.index, known.incarnation)
        judged = known.incarnation <= draft.seat(known.role, known.index).judged
        never_made = known.pid is None and not known.started
        if seen in listed or judged or never_made or known.phase == "gone" or known.terminating:
            continue
        gone = MemberSeen(known.role, known.index, known.incarnation, "gone", ended=draft.now)
        _set_judged(draft, gone)
        if not _expected(draft, gone):
            draft.note("MemberVanished", f"{gone.member} is not there any more; it is replaced", warning=True)
            recoveries.lost(draft, gone, "vanished")


def _ended(draft: Draft, member: MemberSeen) -> None:
    record = member.exit
    drained = record is not None and record.code == OK and record.reason == "Drained"
    if drained and (member.disrupted or _worked(draft, member)):
        draft.note("MemberDrained", f"{member.member} was asked to leave by somebody else; it is replaced")
        recoveries.lost(draft, member, "drained")
        return
    failure = Failure(
        role=member.role,
        index=member.index,
        incarnation=member.incarnation,
        node=member.node,
        exit_code=record.code if record else None,
        reason=record.reason if record else "Killed",
        message=ASKED_TO_LEAVE if drained else record.message if record else how_killed(member),
        time=stamp(member.ended if member.ended is not None else draft.now),
    )
    if record is not None and is_users_mistake(record.code):
        draft.fail(record.code, record.reason, _told(member, failure.message or record.reason), failure)
    elif member.disrupted:
        _disrupted(draft, member, failure)
    elif _repeated(draft, member):
        where = "" if record is None or record.range is None else f" in range {record.range}"
        message = f"{failure.message or failure.reason} (the same{where} twice)"
        draft.fail(USER_CODE, failure.reason, _told(member, message), failure)
    else:
        _count(draft, member, failure)


def _disrupted(draft: Draft, member: MemberSeen, failure: Failure) -> None:
    """Drained with its node, deleted, preempted, lost with its node: replaced at once, and no try is used up."""
    if member.exit is None or member.exit.code != OK:
        reason = "NodeLost" if member.node_lost else failure.reason
        draft.change(last_failure=failure.model_copy(update={"reason": reason, "message": member.disrupted}))
    draft.note("MemberDisrupted", f"{member.member}: {member.disrupted}; it is replaced at once", warning=True)
    recoveries.lost(draft, member, member.disrupted)


def how_killed(member: MemberSeen) -> str:
    return f"killed by signal {member.signal}" if member.signal else "killed: it left no exit record"


def _told(member: MemberSeen, message: str) -> str:
    return f"{member.role} {member.index}: {message}"


def _repeated(draft: Draft, member: MemberSeen) -> bool:
    """The same exception in the same range ended an incarnation before: nobody will get past it."""
    record = member.exit
    if record is None or record.code == OK or not _names_a_place(record):
        return False
    # Whoever says it names itself; who that was is no part of the exception.
    text = re.sub(r"\b(worker|server)[- ]\d+(-\d+)?\b", "a member", record.message)
    suspect = Suspect(range=record.range, reason=record.reason, message=text)
    if suspect in draft.status.suspects:
        return True
    draft.change(suspects=(*draft.status.suspects, suspect)[-SUSPECTS:])
    return False


def _names_a_place(record: ExitRecord) -> bool:
    """A range; or none, when user code that had trained before raised: then it was in `evaluate`."""
    return record.range is not None or (record.reason == "UserCodeRaised" and not record.first_range)


def _count(draft: Draft, member: MemberSeen, failure: Failure) -> None:
    status = draft.status
    fresh = _begins_an_episode(draft, member)
    count = status.restarts + fresh
    step = status.progress.step if status.progress else 0
    counted = status.servers if member.role == "server" else status.workers
    draft.change(
        last_failure=failure,
        restarts=count,
        restarts_total=status.restarts_total + 1,
        refill_step=step,
        **{member.role + "s": counted.model_copy(update={"restarts": counted.restarts + 1})},
    )
    how = failure.message if failure.exit_code is None else f"exit {failure.exit_code}, {failure.reason}"
    if failure.exit_code is not None and failure.message:
        how += f": {failure.message}"
    if fresh and count > draft.intent.backoff_limit:
        draft.fail(
            CRASHED,
            "BackoffLimitExceeded",
            f"members were lost {count} times while fewer than {draft.intent.every_steps} steps were done "
            f"(runPolicy.backoffLimit is {draft.intent.backoff_limit}); the last: {_told(member, how)}",
            failure,
        )
        return
    before = 0 if _worked(draft, member) else draft.seat(member.role, member.index).failures
    draft.change_seat(member.role, member.index, failures=before + 1, last=draft.now)
    wait = backoff(before + 1)
    when = f"in {wait:g} s" if wait else "at once"
    draft.note("MemberLost", f"{member.member}: {how}; it is replaced {when}", warning=True)
    recoveries.lost(draft, member, how)


def _begins_an_episode(draft: Draft, member: MemberSeen) -> bool:
    """Whether this loss is one of its own; else it is part of the newest episode."""
    record = member.exit
    cause = f"exit {record.code} {record.reason}" if record is not None else how_killed(member)
    when = member.ended if member.ended is not None else draft.now
    key, known = seat(member.role, member.index), draft.status.episode
    joins = known is not None and known.cause == cause and abs(when - known.since) < EPISODE and key not in known.seats
    if known is not None and joins:
        draft.change(episode=known.model_copy(update={"seats": (*known.seats, key)}))
        return False
    draft.change(episode=Episode(cause=cause, since=when, seats=(key,)))
    return True


def _worked(draft: Draft, member: MemberSeen) -> bool:
    """Whether this incarnation got anything done: then its failure begins a new row."""
    if member.role == "server":
        named = any((s.index, s.incarnation) == (member.index, member.incarnation) for s in draft.status.term.servers)
        return named and draft.status.opened >= draft.status.term.number
    registration = draft.seen.view.registered(member.member)
    known = [m.trained for m in draft.status.members if Member(m.role, m.index, m.incarnation) == member.member]
    return max([registration.trained if registration else 0, *known]) > 0
