"""Begin, succeed, fail on request, deadline, and what is swept up at the end."""

import re

from deepseek_operator.api.status import Failure, Seat, TermStatus
from deepseek_operator.api.times import seconds, stamp
from deepseek_operator.reconcile.draft import Draft
from deepseek_operator.reconcile.observe import seat
from deepseek_operator.reconcile.policies import recoveries
from deepseek_runtime.contract.exit_codes import CRASHED, OK
from deepseek_runtime.contract.names import COMMAND
from deepseek_runtime.contract.records import TermRecord

COUNTED_WITHIN = 20.0
"""Seconds that the chief of a job in a cluster has, after all is done, to count the samples from the servers' journals:
who waits for the job's end then finds the count too. (On one machine the supervisor counts.)"""
LEAVE_BY_THEMSELVES = 10.0
"""Seconds that workers of a finished job have before they are asked to leave."""


def absorb(draft: Draft) -> None:
    """Takes into the status what the world knows better: the start, numbers in use, progress, what has opened."""
    status, view = draft.status, draft.seen.view
    if not status.started:
        draft.change(started=stamp(draft.now), uid=draft.intent.uid)
        draft.note("Created", f"{draft.intent.servers} server(s) and {draft.intent.workers} worker(s) are asked for")
    used = dict(status.incarnations)
    for member in draft.seen.members:
        key = seat(member.role, member.index)
        used[key] = max(used.get(key, -1), member.incarnation)
    draft.change(incarnations=used)
    if view.term is not None and view.term.number > status.term.number:
        draft.change(term=_term_status(view.term))  # the status was lost; etcd was not
    if view.state is not None:
        draft.change(opened=max(status.opened, view.state.opened))
    if view.progress is not None and view.progress != status.progress:
        fresh = _fresh(view.progress.events, status.progress.events if status.progress else ())
        draft.change(progress=view.progress)
        for text in fresh:
            _runtime_event(draft, text)


def _fresh(events: tuple[str, ...], known: tuple[str, ...]) -> list[str]:
    """Of a chief's newest messages those not told yet. Of `known` the last is enough: the resource keeps no more.

    A chief that takes over from itself may have messages twice, as its own and as those of the chief before.
    """
    told = set(known)
    if known and known[-1] in events:
        last = len(events) - 1 - events[::-1].index(known[-1])
        told |= set(events[:last])
    return [event for event in dict.fromkeys(events) if event not in told]


def _term_status(record: TermRecord) -> TermStatus:
    def seats(of: tuple[object, ...]) -> tuple[Seat, ...]:
        return tuple(Seat.model_validate(one, from_attributes=True) for one in of)

    return TermStatus(
        number=record.number, servers=seats(record.servers), sources=seats(record.sources), restore=record.restore
    )


def _runtime_event(draft: Draft, text: str) -> None:
    """`<id> <Reason> <text>`, as the chief wrote it."""
    _, _, rest = text.partition(" ")
    reason, _, message = rest.partition(" ")
    if reason:
        draft.note(reason, message)
        recoveries.hear(draft, reason, message)


def succeed(draft: Draft) -> None:
    """`finished` of any term is success, before a term is raised or written (End); at no other step than the last.

    In a cluster it is told once the samples are counted; until then nobody is replaced and nothing is raised.
    """
    state = draft.seen.view.state
    if state is None or state.finished is None or disbelieved(draft):
        if draft.status.done_since is not None:
            draft.change(done_since=None)  # the job was made longer
        return
    if not draft.intent.local and _counting(draft):
        return
    draft.change(finished=stamp(draft.now), done_since=None, exit_code=OK, message="", drain=None)


def _counting(draft: Draft) -> bool:
    """Whether the chief's count is still to come."""
    progress, since = draft.status.progress, draft.status.done_since
    if progress is not None and progress.samples_counted:
        return False
    if since is None:
        since = draft.now
        draft.change(done_since=since)
    chief = next(iter(draft.status.term.servers), None)
    alive = {(m.index, m.incarnation) for m in draft.seen.living("server")}
    if chief is None or (chief.index, chief.incarnation) not in alive:
        why = "the server that counts them is gone"
    elif draft.now >= since + COUNTED_WITHIN:
        why = f"no count came within {COUNTED_WITHIN:g} s"
    else:
        draft.wake_at(since + COUNTED_WITHIN)
        return True
    draft.note("SamplesNotCounted", f"whether samples were lost or repeated is not known: {why}", warning=True)
    return False


def disbelieved(draft: Draft) -> str:
    """Why `finished` is not the end that the job asks for; empty: it is, or there is none.

    A job ends at its last step and no other: skipped batches count, the last range is cut to `steps`, and what a longer
    job had done beyond it does not count. So this is an end of before the job was made longer, or not its chief's word.
    """
    finished = draft.seen.view.state.finished if draft.seen.view.state is not None else None
    if finished is None:
        return ""
    intent, progress = draft.intent, draft.status.progress
    steps = intent.steps
    if steps is None and progress is not None and progress.term == finished.term:
        steps = progress.steps or None  # only the chief knows how many steps an epoch has
    ends = f"etcd says that the job finished at step {finished.step} (term {finished.term})"
    if steps is not None and finished.step != steps:
        return f"{ends}, but it has {steps} steps: not believed"
    if intent.epochs is not None and (not finished.step or finished.step % intent.epochs):
        return f"{ends}, which is no whole number of steps for each of its {intent.epochs} epochs: not believed"
    return ""


def requests(draft: Draft) -> None:
    """Drops requests of older terms; one to fail ends the job. roll_back is read by the terms policy."""
    if not draft.seen.view.fresh:
        return
    number = draft.status.term.number
    for id, request in sorted(draft.seen.view.requests.items()):
        if request.term < number:
            draft.drop_requests.append(id)
        elif request.kind == "fail" and not draft.over():
            draft.drop_requests.append(id)
            code = request.code if request.code is not None else CRASHED
            reason, text = _reason(request.reason or "the chief gave the job up without a reason")
            failure = Failure(
                role="server", index=0, exit_code=code, reason=reason, message=text, time=stamp(draft.now)
            )
            draft.fail(code, reason, text, failure)


def _reason(said: str) -> tuple[str, str]:
    """`<Reason>: <text>`, as the chief writes it."""
    found = re.fullmatch(r"([A-Z][A-Za-z]+): (.+)", said, re.DOTALL)
    return (found[1], found[2]) if found else ("RuntimeFailed", said)


def deadline(draft: Draft) -> None:
    limit = draft.intent.active_deadline
    if limit is None or not draft.status.started:
        return
    end = seconds(draft.status.started) + limit
    if draft.now >= end:
        draft.fail(
            CRASHED,
            "DeadlineExceeded",
            f"still running after runPolicy.activeDeadlineSeconds ({limit:g} s): {_after_a_deadline(draft)}",
        )
    else:
        draft.wake_at(end)


def _after_a_deadline(draft: Draft) -> str:
    job = draft.intent.job
    if draft.intent.local:
        return f"raise it, or go on from the newest checkpoint with `{COMMAND} run --resume {job}`"
    return (
        "raise it or leave it out, in a job of another name, or of this one once it is deleted; with "
        f"checkpoint.restoreFrom: job://{job} that begins from this one's newest checkpoint"
    )


def sweep(draft: Draft) -> None:
    """After the end: a failed job's members are killed, a finished one's leave by themselves, servers last."""
    failed = draft.status.exit_code != OK
    asked_at = seconds(draft.status.finished) + LEAVE_BY_THEMSELVES
    workers = draft.seen.living("worker")
    for member in draft.seen.members:
        if failed or not member.alive:
            draft.remove(member)
        elif member.role == "server" and not workers:
            draft.ask_to_leave(member)
        elif member.role == "worker":
            if draft.now >= asked_at:
                draft.ask_to_leave(member)
            else:
                draft.wake_at(asked_at)
    if not failed:
        _last_word(draft)


def _last_word(draft: Draft) -> None:
    """Once nobody is left: until then the chief has more to say, of the last evaluation and of its own end."""
    before = draft.seen.status
    if any(m.alive for m in draft.seen.members) or (before.finished and not before.members):
        return
    finished = draft.seen.view.state.finished if draft.seen.view.state is not None else None
    where = f" (step {finished.step}, term {finished.term})" if finished is not None else ""
    draft.note("Succeeded", f"all steps are done{where}")
