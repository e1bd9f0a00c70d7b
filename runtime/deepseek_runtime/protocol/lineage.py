"""Which checkpoint a term begins from, and which nobody can need any more (protocol.md, Checkpoints 3 and 4). Pure.

Every term stores what it begins from, its **base**, before anything in it opens: a checkpoint that it restored, or an
older term whose state it continues. The bases make a chain from any term down to the one that initialised the job:
its **lineage**. Only checkpoints on the lineage may ever be loaded, so what a zombie of an older term writes late is
never picked.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Step(NamedTuple):
    """A checkpoint's name: the term that wrote it and the step it was written at."""

    term: int
    step: int


@dataclass(frozen=True, slots=True)
class Base:
    """What a term begins from: exactly one of a restored checkpoint and the term that it continues."""

    restored: Step | None = None
    continues: int | None = None

    def __post_init__(self) -> None:
        if (self.restored is None) == (self.continues is None):
            raise ValueError("a base is either a restored checkpoint or a continued term")

    def __str__(self) -> str:
        if self.restored is not None:
            return f"restored checkpoint {self.restored.step} of term {self.restored.term}"
        return f"continues term {self.continues}"


Bases = Mapping[int, Base]
Indexes = Mapping[int, Collection[int]]
"""For each term the steps that have an index."""


class LineageBroken(Exception):
    """The chain of bases leads to a term that has none, or in a circle: the store lost or mixed up `base.json`s."""


class Leg(NamedTuple):
    """A part of a lineage: of `term` everything up to its checkpoint `until` counts; None: all of it."""

    term: int
    until: int | None


def parent_term(term: int, bases: Bases) -> int | None:
    """The highest term below `term` that has a base; None: `term` initialises (Terms 7)."""
    return max((number for number in bases if number < term), default=None)


def newest(term: int, bases: Bases, indexes: Indexes) -> Step | None:
    """Checkpoints 3: the checkpoint from which `term` restores; None: there is none, so it initialises.

    Raises LineageBroken.
    """
    current = parent_term(term, bases)
    while current is not None:
        if indexes.get(current):
            return Step(current, max(indexes[current]))
        base = _base(current, bases)
        if base.restored is not None:
            return base.restored
        current = base.continues
    return None


def legs(term: int, bases: Bases) -> list[Leg]:
    """The lineage of a term that has a base, from `term` itself down to the one that initialised.

    What was applied in a term counts up to the leg's `until`; nothing else of any term does. (samples_lost and
    samples_repeated are counted on these.) Raises LineageBroken.
    """
    result = [Leg(term, None)]
    while True:
        last = result[-1].term
        base = _base(last, bases)
        if base.continues is not None:
            leg = Leg(base.continues, None)
        elif base.restored is not None and base.restored.term != last:
            leg = Leg(base.restored.term, base.restored.step)
        else:
            return result  # restored its own step: this term initialised
        if leg.term >= last:
            raise LineageBroken(f"term {last} cannot begin from term {leg.term}, which is not older")
        result.append(leg)


def lineage(term: int, bases: Bases, indexes: Indexes) -> Iterator[Step]:
    """The checkpoints on the lineage of a term that has a base, its own first, from newest to oldest.

    Raises LineageBroken.
    """
    for leg in legs(term, bases):
        steps = (step for step in indexes.get(leg.term, ()) if leg.until is None or step <= leg.until)
        yield from (Step(leg.term, step) for step in sorted(steps, reverse=True))


def candidates(term: int, bases: Bases, indexes: Indexes) -> Iterator[Step]:
    """What `term` may restore, from newest to oldest: the first is `newest`, the next is for when that one is damaged.

    Only checkpoints that have an index are named. Raises LineageBroken.
    """
    parent = parent_term(term, bases)
    if parent is not None:
        yield from lineage(parent, bases, indexes)


def survivors(term: int, keep: int, bases: Bases, indexes: Indexes) -> set[Step]:
    """Checkpoints 4: what must stay when the chief of `term` (whose base is stored) cleans up.

    That is the newest `keep` of its lineage (step 0 counts like any), hence always the one that the next term would
    restore, and everything of terms above `term`, which are not this chief's business. Raises ValueError for
    keep < 1, and LineageBroken (then nothing may be deleted).
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}")
    kept = set(list(lineage(term, bases, indexes))[:keep])
    newer = (Step(number, step) for number, steps in indexes.items() if number > term for step in steps)
    return kept.union(newer)


def garbage(term: int, keep: int, bases: Bases, indexes: Indexes, folders: Collection[Step]) -> set[Step]:
    """Checkpoints 4: which of the step folders in the store the chief of `term` may delete.

    It must have read its own term in etcd after the newest index was stored. A folder without an index is a
    checkpoint that was never finished: those of older terms, and those of `term` that are older than its newest
    index, are garbage; a newer one may still be in the making. Raises as `survivors`.
    """
    kept = survivors(term, keep, bases, indexes)
    newest_own = max(indexes.get(term, ()), default=-1)
    return {
        folder
        for folder in folders
        if folder not in kept and (folder.term < term or (folder.term == term and folder.step < newest_own))
    }


def _base(term: int, bases: Bases) -> Base:
    try:
        return bases[term]
    except KeyError:
        raise LineageBroken(f"term {term} has no base") from None
