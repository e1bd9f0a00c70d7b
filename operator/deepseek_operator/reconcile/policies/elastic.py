"""As many members as are asked for: empty seats are filled, workers beyond the number drain and leave.

Servers beyond the number stay until a term without them is open (terms.py): they hold spans.
"""

from deepseek_operator.reconcile.draft import Draft
from deepseek_operator.reconcile.policies.restart import backoff, waiting
from deepseek_runtime.contract.names import ROLES, Role

TRIED_AGAIN = 5.0
"""Seconds until a member that could not be made is tried again."""


def fill(draft: Draft) -> None:
    """Creates a member for every empty seat whose back-off is over; nobody while an obstacle stands in all ways."""
    if draft.seen.obstacle is not None:
        return
    for role in ROLES:
        for index in range(draft.intent.desired(role)):
            holder = draft.holder(role, index)
            if holder is None:
                if _may(draft, role, index):
                    draft.new_member(role, index)
            elif not holder.made and not draft.leaving(holder):
                if draft.now >= holder.since + TRIED_AGAIN:
                    draft.make_again(holder)
                else:
                    draft.wake_at(holder.since + TRIED_AGAIN)


def _may(draft: Draft, role: Role, index: int) -> bool:
    if any(waiting(draft, m) for m in draft.seen.members if (m.role, m.index) == (role, index)):
        return False
    seat = draft.seat(role, index)
    free_at = seat.last + backoff(seat.failures)
    if draft.now >= free_at:
        return True
    draft.wake_at(free_at)
    return False


def shrink(draft: Draft) -> None:
    """The highest indices push what they hold and leave; of two in one seat the older one is ended."""
    for member in draft.seen.living("worker"):
        if member.index >= draft.intent.workers:
            if not draft.leaving(member):
                draft.note("ScaledDown", f"{member.member} drains and leaves: {draft.intent.workers} are asked for")
            draft.ask_to_leave(member)
        else:
            holder = draft.holder("worker", member.index)
            if holder is not None and holder.incarnation > member.incarnation:
                draft.remove(member)
