"""Suspend: ask the chief to drain, wait for it (not for ever), then end workers, then servers. Resume: begin afresh.

Once asked for, a drain is carried to its end: a chief that has drained gives no more leases.
"""

from deepseek_operator.api.status import DrainStatus, JobStatus
from deepseek_operator.reconcile.draft import Draft
from deepseek_operator.reconcile.observe import stamp
from deepseek_runtime.contract.records import Command


def suspending(draft: Draft) -> bool:
    return draft.intent.suspend or draft.status.drain is not None


def resume(draft: Draft) -> None:
    """A job that was suspended and is wanted again starts with a full budget and a new clock."""
    was = any(c.type == "Suspended" and c.status == "True" and c.reason == "Suspended" for c in draft.status.conditions)
    if was and not draft.intent.suspend:
        draft.change(started=stamp(draft.now), restarts=0, seats={}, members=(), message="")
        draft.note("Resumed", "members start again from the newest checkpoint")


def suspend(draft: Draft) -> None:
    for member in draft.seen.members:
        if not member.alive or draft.intent.kill:
            draft.remove(member)
    workers, servers = draft.seen.living("worker"), draft.seen.living("server")
    if not workers and not servers:
        draft.change(drain=None)
        return
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
            draft.change(drain=DrainStatus(term=term.number, since=0.0))
            draft.note("Draining", "nothing to save: the servers are not all at work; the newest checkpoint stays")
        return False
    drain = draft.status.drain
    if drain is None:
        drain = DrainStatus(term=term.number, since=draft.now)
        draft.change(drain=drain)
        draft.note("Draining", "workers push what they hold, the servers write a checkpoint, then all leave")
    # Its acknowledgement says that the chief has begun; what was asked for is done when the state says so.
    if state is not None and state.drained >= drain.term:
        return False
    until = drain.since + draft.intent.drain_bound
    if draft.now >= until:
        return False
    draft.wake_at(until)
    if view.fresh and f"drain-{drain.term}" not in view.commands:
        draft.commands[f"drain-{drain.term}"] = Command(kind="drain")
    return True


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
        }
    )
