"""A change of what members are made from: image, code, resources, optimizer, and whatever else the config has in it.

All members change at once, and no step is lost: the job drains as for a suspension (workers push, a checkpoint is
written), everybody leaves, then the new generation begins from that checkpoint, in a new term. Members of two
generations never meet: they would train with different optimizers, or speak different versions of the protocol.
One by one would also cost more: each server that is replaced takes all back to the newest checkpoint.

Also for `steps`, `checkpoint` and `evaluation`: nothing in the config document changes while a member lives.
On one machine the supervisor replaces members by starting the job again.

The same when the Secrets with their keys are gone, or hold others: who is made from then on could not speak to those
that live. Nobody is made before all have left.
"""

from deepseek_operator.reconcile.draft import Draft


def begin(draft: Draft) -> None:
    """The first generation is simply taken; so is any while there is no drain (one machine)."""
    if draft.intent.local or not draft.status.generation:
        draft.change(generation=draft.intent.generation)
    if not draft.status.keys and draft.intent.keys:
        draft.change(keys=draft.intent.keys)


def rolling(draft: Draft) -> bool:
    """Members of an older generation are to be replaced (or, while the job is suspended, have been)."""
    return not draft.over() and (draft.status.generation != draft.intent.generation or keys_lost(draft))


def keys_lost(draft: Draft) -> bool:
    """Whether whoever is made now could not prove to those that live that it is of their job."""
    return draft.intent.keys is None or draft.intent.keys != draft.status.keys


def announce(draft: Draft) -> None:
    """Once, before the drain."""
    if keys_lost(draft) and draft.status.drain is None and not draft.over():
        lost = "the Secrets with its members' keys are gone or hold others"
        draft.note("KeysLost", f"{lost}: all leave after a checkpoint, and begin anew", warning=True)


def finish(draft: Draft) -> None:
    """Nobody is left: the new generation begins, in the next round, with a full budget."""
    keys = draft.intent.keys
    if rolling(draft) and keys is not None:
        draft.change(generation=draft.intent.generation, keys=keys, seats={}, restarts=0, suspects=(), members=())
        if not draft.intent.suspend:
            draft.note("RolledOut", "members of the new generation start from the newest checkpoint")
