"""A change of what members are made from: image, code, resources, optimizer, and whatever else the config has in it.

All members change at once, and no step is lost: the job drains as for a suspension (workers push, a checkpoint is
written), everybody leaves, then the new generation begins from that checkpoint, in a new term. Members of two
generations never meet: they would train with different optimizers, or speak different versions of the protocol.
One by one would also cost more: each server that is replaced takes all back to the newest checkpoint.

Also for `steps`, `checkpoint` and `evaluation`: nothing in the config document changes while a member lives.
On one machine the supervisor replaces members by starting the job again.
"""

from deepseek_operator.reconcile.draft import Draft


def begin(draft: Draft) -> None:
    """The first generation is simply taken; so is any while there is no drain (one machine)."""
    if draft.intent.local or not draft.status.generation:
        draft.change(generation=draft.intent.generation)


def rolling(draft: Draft) -> bool:
    """Members of an older generation are to be replaced (or, while the job is suspended, have been)."""
    return not draft.over() and draft.status.generation != draft.intent.generation


def finish(draft: Draft) -> None:
    """Nobody is left: the new generation begins, in the next round, with a full budget."""
    if rolling(draft):
        draft.change(generation=draft.intent.generation, seats={}, restarts=0, suspects=(), members=())
        if not draft.intent.suspend:
            draft.note("RolledOut", "members of the new generation start from the newest checkpoint")
