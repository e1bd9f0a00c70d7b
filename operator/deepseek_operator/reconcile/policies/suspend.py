"""Suspend: ask the chief to drain, wait for it (not for ever), then end workers, then servers. Resume: begin afresh.
A roll-out (rollout.py) takes the same way.

Once asked for, a drain is carried to its end: a chief that has drained gives no more leases.
"""

from deepseek_operator.api.status import DrainStatus, JobStatus
from deepseek_operator.api.times import stamp
from deepseek_operator.reconcile.draft import Draft
from deepseek_operator.reconcile.policies import rollout
from deepseek_runtime.contract.records import Command


def suspending(draft: Draft) -> bool:
    return draft.intent.suspend or draft.status.drain is not None or rollout.rolling(draft)


def resume(draft: Draft) -> None:
    """A job that was suspended and is wanted again starts with a full budget and a new clock."""
    was = any(c.type == "Suspended" and c.status == "True" and c.reason == "Suspended" for c in draft.status.conditions)
    if was and not draft.intent.suspend:
        draft.change(started=stamp(draft.now), restarts=0, seats={}, members=(), message="", drain_outcome="")
        draft.note("Resumed", "members start again from the newest checkpoint")


def suspend(draft: Draft) -> None:
    for member in draft.seen.members:
        if not member.alive or draft.intent.kill:
            draft.remove(member)
    workers, servers = draft.seen.living("worker"), draft.seen.living("server")
    if not workers and not servers:
        draft.change(drain=None)
        rollout.finish(draft)
        return
    rollout.announce(draft)
    if draft.intent.kill or not _draining(draft):
        for member in workers or servers:
            draft.ask_to_leave(member)


def _draining(draft: Draft) -> bool:
    """Whether the chief is still at it; asks it to begin."""
    term, state, view = draft.status.term, draft.seen.view.state, draft.seen.view
    alive = {(m.index, m.incarnation) for m in draft.seen.living("server")}
    whole = all((s.index, s.incarnation) in alive for s in term.servers)
    if not (whole and 0 < term.number <= draft.status.opened):
        if draft.status.drain is None:
            draft.change(drain=DrainStatus(term=term.number, since=0.0), drain_outcome="")
        _concluded(draft, "nothing to save: the servers are not all at work; the newest checkpoint stays")
        return False
    drain = draft.status.drain
    if drain is None:
        drain = DrainStatus(term=term.number, since=draft.now)
        draft.change(drain=drain, drain_outcome="")
        why = "for a roll-out: " if rollout.rolling(draft) and not draft.intent.suspend else ""
        draft.note("Draining", f"{why}workers push what they hold, the servers write a checkpoint, then all leave")
    # Its acknowledgement says that the chief has begun; what was asked for is done when the state says so.
    progress = draft.status.progress
    if state is not None and state.drained >= drain.term:
        saved = progress.checkpoint if progress is not None else None
        _concluded(draft, "a checkpoint was written" + (f", of step {saved.step}" if saved else ""))
        return False
    until = drain.since + draft.intent.drain_bound
    if draft.now >= until:
        problem = f" ({progress.checkpoint_problem})" if progress is not None and progress.checkpoint_problem else ""
        text = f"no checkpoint was written within {draft.intent.drain_bound:g} s{problem}; the newest one stays"
        _concluded(draft, text, warning=True)
        return False
    draft.wake_at(until)
    if view.fresh and f"drain-{drain.term}" not in view.commands:
        draft.commands[f"drain-{drain.term}"] = Command(kind="drain")
    return True


def _concluded(draft: Draft, outcome: str, *, warning: bool = False) -> None:
    """What came of the drain, said once."""
    if not draft.status.drain_outcome:
        draft.change(drain_outcome=outcome)
        draft.note("Drained", outcome, warning=warning)


def drop_commands(draft: Draft) -> None:
    """A drain that is over must not meet the next chief."""
    if draft.seen.view.fresh and draft.status.drain is None:
        draft.drop_commands += sorted(id for id, c in draft.seen.view.commands.items() if c.kind == "drain")


def reopened(status: JobStatus) -> JobStatus:
    """A failed job that is tried again: numbers, history and the term stay; the verdict and the budget do not."""
    ends = ("Failed", "Finished", "Blocked", "Degraded")
    return status.model_copy(
        update={
            "conditions": tuple(c for c in status.conditions if c.type not in ends),
            "finished": "",
            "started": "",
            "exit_code": None,
            "message": "",
            "restarts": 0,
            "seats": {},
            "suspects": (),
            "drain": None,
            "drain_outcome": "",
        }
    )
