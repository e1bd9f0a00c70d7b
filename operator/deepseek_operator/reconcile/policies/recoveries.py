"""How long each loss lasted: from the loss until the replacement has itself finished a range.

A worker has when its registration counts a trained range; a server when a term that names it is open and a range was
done in it; etcd when everybody who lives is registered in it again.
"""

import re

from deepseek_operator.api.status import Recovery
from deepseek_operator.reconcile.draft import Draft
from deepseek_operator.reconcile.observe import MemberSeen
from deepseek_runtime.contract.records import Progress

KEPT = 200
"""The newest, in the status."""


def lost(draft: Draft, member: MemberSeen, cause: str) -> None:
    """Opens a recovery; of a replacement that is lost before it worked, the first one goes on."""
    when = member.ended if member.ended is not None else draft.now
    _open(draft, member.role, member.index, member.incarnation + 1, when, cause)


def etcd_lost(draft: Draft) -> None:
    etcd = draft.seen.etcd
    if etcd is None or etcd.lost_at is None or etcd.incarnation <= draft.status.incarnations.get("etcd/0", 0):
        return
    draft.change(incarnations={**draft.status.incarnations, "etcd/0": etcd.incarnation})
    how = f" ({etcd.cause})" if etcd.cause else ""
    draft.note("EtcdLost", f"etcd ended{how}; an empty one takes its place, members register anew", warning=True)
    _open(draft, "etcd", 0, etcd.incarnation, etcd.lost_at, etcd.cause or "ended")


def hear(draft: Draft, reason: str, message: str) -> None:
    """The chief says what a term began from: `TermOpened ... from checkpoint of step <N>`, or nobody went back."""
    step = re.search(r"\bcheckpoint of step (\d+)", message)
    if reason != "TermOpened" or step is None:
        return
    draft.change(
        recoveries=tuple(
            r.model_copy(update={"restored_step": int(step[1])})
            if r.role == "server" and r.seconds is None and r.restored_step is None
            else r
            for r in draft.status.recoveries
        )
    )


def follow(draft: Draft) -> None:
    """Measures the open recoveries, and closes those whose replacement worked."""
    draft.change(recoveries=tuple(r if r.seconds is not None else _follow(draft, r) for r in draft.status.recoveries))


def _open(draft: Draft, role: str, index: int, incarnation: int, lost_at: float, cause: str) -> None:
    progress = draft.status.progress
    known = draft.status.recoveries
    for place, one in enumerate(known):
        if (one.role, one.index) == (role, index) and one.seconds is None:
            goes_on = one.model_copy(update={"incarnation": incarnation})
            draft.change(recoveries=(*known[:place], goes_on, *known[place + 1 :]))
            return
    new = Recovery(
        role=role,
        index=index,
        at_step=progress.step if progress else 0,
        cause=cause,
        incarnation=incarnation,
        lost_at=lost_at,
        last_range=progress.last_range_time if progress else None,
        gap_before=progress.longest_gap if progress else 0.0,
    )
    draft.change(recoveries=(*known, new)[-KEPT:])


def _follow(draft: Draft, recovery: Recovery) -> Recovery:
    progress = draft.status.progress
    if progress is not None:
        recovery = _measured(recovery, progress)
    if not _worked(draft, recovery):
        return recovery
    took = max(0.0, draft.now - recovery.lost_at)
    who = "etcd" if recovery.role == "etcd" else f"{recovery.role} {recovery.index}"
    draft.note("Recovered", f"{who} is back at work after {took:.1f} s")
    return recovery.model_copy(update={"seconds": round(took, 3)})


def _measured(recovery: Recovery, progress: Progress) -> Recovery:
    """The longest gap so far: the chief's own figure where it grew since the loss, else what its reports are apart.

    A chief counts from its term's opening, so across terms the reports alone tell. While etcd is away nobody reports,
    and training goes on: there the chief's figure alone counts.
    """
    if progress.last_range_time is None:
        return recovery
    if progress.step > recovery.at_step and _tells_of_before(recovery, progress):
        recovery = recovery.model_copy(update={"at_step": progress.step})
    before = recovery.last_range if recovery.last_range is not None else recovery.lost_at
    apart = max(0.0, progress.last_range_time - before)
    if recovery.role == "server":
        gap = max(recovery.longest_gap or 0.0, apart)
    elif progress.longest_gap > recovery.gap_before:
        gap = progress.longest_gap
    else:
        gap = max(recovery.longest_gap or 0.0, 0.0 if recovery.role == "etcd" else apart)
    return recovery.model_copy(update={"last_range": progress.last_range_time, "longest_gap": round(gap, 3)})


def _tells_of_before(recovery: Recovery, progress: Progress) -> bool:
    """Reports come late: one whose last range was done before the loss says how far the job was then.

    If there was none before the loss at all, the first one after it is as near as can be known.
    """
    if progress.last_range_time is not None and progress.last_range_time <= recovery.lost_at:
        return True
    return recovery.role == "worker" and recovery.last_range is None


def _worked(draft: Draft, recovery: Recovery) -> bool:
    view, status = draft.seen.view, draft.status
    if not view.fresh:
        return False
    if recovery.role == "worker":
        found = view.registrations.get(("worker", recovery.index))
        return found is not None and found.incarnation >= recovery.incarnation and found.trained > 0
    if recovery.role == "server":
        term, progress = status.term, status.progress
        named = any(s.index == recovery.index and s.incarnation >= recovery.incarnation for s in term.servers)
        if not named or status.opened < term.number or progress is None or progress.term < term.number:
            return False
        return progress.last_range_time is not None and progress.last_range_time > recovery.lost_at
    now = draft.seen.now
    if view.listed_at is None or now.wall - (now.monotonic - view.listed_at) <= recovery.lost_at:
        return False
    if view.term is None or view.term.number < status.term.number:
        return status.term.number == 0
    return all(m.terminating or view.registered(m.member) is not None for m in draft.seen.members if m.alive)
