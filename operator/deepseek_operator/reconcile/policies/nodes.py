"""Who is dead because a node is: a member whose node says nothing and whose registration has ended.

Either alone is no death. A node that is cut off from the API server may train on, and silence of etcd is no news: a
registration counts as ended only when etcd answers, and has listed everything long enough ago for all to register anew.
"""

from dataclasses import replace

from deepseek_operator.reconcile.draft import Draft
from deepseek_operator.reconcile.observe import MemberSeen

REGISTERS_ANEW = 10.0
"""Seconds after a listing of etcd's contents within which whoever lives is registered again."""


def lost(draft: Draft) -> None:
    """Takes members that count as dead out of the living, for every policy after this one."""
    view, now = draft.seen.view, draft.seen.now
    dead = {m.member for m in draft.seen.members if m.alive and m.node_lost and view.registered(m.member) is None}
    if not dead or not view.fresh or view.listed_at is None:
        return
    wait = view.listed_at + REGISTERS_ANEW - now.monotonic
    if wait > 0:
        draft.wake_at(now.wall + wait)
        return
    members = tuple(_dead(m, now.wall) if m.member in dead else m for m in draft.seen.members)
    draft.seen = replace(draft.seen, members=members)


def _dead(member: MemberSeen, now: float) -> MemberSeen:
    return replace(member, phase="gone", ended=now, waiting=None, disrupted=f"its node {member.node} is lost")
