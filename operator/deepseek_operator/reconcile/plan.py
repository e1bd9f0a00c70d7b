"""plan(intent, seen) -> Plan: the order in which the policies decide. Pure; table-tested; idempotent.

A job that has ended is swept up and nothing else; `finished` of any term is success before anything is raised or
written; whoever is gone is judged before a seat is filled; a seat is filled before a term can name it.
"""

from deepseek_operator.reconcile.draft import Draft, Plan
from deepseek_operator.reconcile.intent import Intent
from deepseek_operator.reconcile.observe import Observed
from deepseek_operator.reconcile.policies import elastic, lifecycle, nodes, recoveries, restart, rollout, terms
from deepseek_operator.reconcile.policies import suspend as suspension
from deepseek_operator.reconcile.status import describe

__all__ = ["Plan", "plan"]


def plan(intent: Intent, seen: Observed) -> Plan:
    """What has to happen now for `intent`, given what is seen. Times are those of `seen.now`."""
    draft = Draft(intent, seen, seen.status)
    nodes.lost(draft)
    lifecycle.absorb(draft)
    rollout.begin(draft)
    if not draft.over():
        _decide(draft)
    if draft.over():
        lifecycle.sweep(draft)
    describe(draft)
    return draft.plan()


def _decide(draft: Draft) -> None:
    lifecycle.succeed(draft)
    if draft.over() or draft.status.done_since is not None:
        return
    lifecycle.requests(draft)
    suspension.resume(draft)
    if not draft.over() and suspension.suspending(draft):
        suspension.suspend(draft)
        suspension.drop_commands(draft)
        return
    suspension.drop_commands(draft)
    for step in (lifecycle.deadline, restart.judge):
        if not draft.over():
            step(draft)
    if draft.over():
        return
    recoveries.etcd_lost(draft)
    elastic.shrink(draft)
    elastic.fill(draft)
    terms.raise_term(draft)
    terms.remove_replaced(draft)
    recoveries.follow(draft)
