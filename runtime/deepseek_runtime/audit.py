"""Counts from outside what a job trained: which samples entered the state that survived, and how often.

Counted from what the servers wrote down when they applied a push (`pushes-<index>.jsonl`), never from the applied sets:
those say what the servers believe, and that is what is to be proved.

A span's state is a **line**: it begins with the term that placed the span there from a checkpoint, and every push
applied since has an ordinal: 1, 2, ... What survived of a span is the whole of its newest line; of the line whose
checkpoint that one began from, the pushes up to the part's ordinal; and so on down to the line that the job began
with. Everything else was rolled back. docs/formats/journals.md has the format.

    audit(config)                      # from the config document of a job that has ended
    audit(config, live=["worker-0-1"])  # of one that runs
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deepseek_runtime.checkpoint.choose import choose
from deepseek_runtime.checkpoint.index import Index, read_index, survey
from deepseek_runtime.checkpoint.spans import read_span
from deepseek_runtime.checkpoint.store import Store, StoreError, open_store
from deepseek_runtime.contract.config import JobConfig
from deepseek_runtime.journals import Entry, Journals, read_journals, read_kept_journals, resolved, twice
from deepseek_runtime.protocol.applied import AppliedSet
from deepseek_runtime.protocol.lineage import Bases, LineageBroken, Step, legs
from deepseek_runtime.protocol.settings import settings_of
from deepseek_runtime.ranges import RangePlan


class CannotCount(Exception):
    """Something that the count needs is gone. The message is for people."""


@dataclass(frozen=True, slots=True)
class Audit:
    """A range counts once whatever number of spans it is wrong on: by the span on which it is most wrong."""

    samples_total: int
    """Of all ranges that should have been trained: of the whole job when it is done, else those that the newest
    checkpoint has everywhere."""
    samples_lost: int
    """Missing in the state that survived, on any span. Must be 0."""
    samples_repeated: int
    """More than once in it. Must be 0."""
    samples_rolled_back: int
    """Trained, then given up with the state of a lost server; trained again since."""
    samples_skipped: int
    """Of ranges that were given up because they were never finite."""
    residual_lost: float
    """Sum of |e| that no server will ever see: of workers that are gone, and of roll-backs. As the newest checkpoint
    has it: what a living worker holds is on its way."""
    pushed: float
    """Sum of |d| of all pushes that survived: what residual_lost is to be read against."""
    wire_bytes: int
    """Through the servers' sockets, both ways."""
    ranges: int
    """That should have been trained."""
    pushes: int
    """Applied anywhere, those that were rolled back too."""
    terms: int
    problems: tuple[str, ...] = ()
    """What makes the count unsure, in words: missing journal lines, a checkpoint that says another thing."""

    @property
    def exact(self) -> bool:
        """Every sample once, and nothing casts doubt on it."""
        return self.samples_lost == 0 and self.samples_repeated == 0 and not self.problems


class Stretch(NamedTuple):
    """A line that belongs to the history, up to a checkpoint; None: all of it."""

    line: int
    until: Step | None


@dataclass(frozen=True, slots=True)
class Stored:
    """What the newest checkpoint says of its spans, weights left out."""

    ordinals: Mapping[int, int]
    applied: Mapping[int, AppliedSet]
    skipped: Mapping[int, frozenset[int]]
    residual_lost: float
    pushed: float


def audit(
    config: JobConfig, *, store: Store | None = None, complete: bool | None = None, live: Collection[str] = ()
) -> Audit:
    """Counts a job by its config document: journals in `data_dir` (kept ones in the store), checkpoints in
    `checkpoint.uri`.

    store: instead of opening the config's own; complete: whether every range must be in; None: if the newest
    checkpoint is of the last step; live: workers that are at work, as `worker-0-1`. Raises CannotCount, StoreError.
    """
    if not config.data_dir:
        raise CannotCount("the job has no data_dir: its servers wrote no journals")
    held = store or open_store(config.checkpoint.uri, config.checkpoint.storage_options)
    try:
        journals = None if config.keep_journals else Path(config.data_dir)
        return count(journals, held, settings_of(config).plan, complete, live)
    finally:
        if store is None:
            held.close()


def count(
    folder: Path | None,
    store: Store,
    plan_of: Callable[[int], RangePlan],
    complete: bool | None = None,
    live: Collection[str] = (),
) -> Audit:
    """folder: where the journals are, None: in the store; plan_of: from the length of the data set.

    Raises CannotCount, StoreError.
    """
    seen = survey(store)
    newest_term = max(seen.bases, default=0)
    choice = choose(store, newest_term + 1)
    if choice is None:
        raise CannotCount(f"{store.uri} holds no checkpoint of a job: nothing was trained")
    index = choice.index
    try:
        stretches = history(newest_term, seen.bases)
        of_index = history(index.term, seen.bases)
    except LineageBroken as error:
        raise CannotCount(f"{store.uri}: {error}") from error
    problems = [f"step {name.step} is passed over: {why}" for name, why in choice.passed_over]
    stored = _read_parts(store, index, live)
    # After the checkpoint: what is in that, stands here.
    journals = read_kept_journals(store) if folder is None else read_journals(folder)
    spans = range(len(index.parts))
    limits = [_limits(stretch, journals, stretches, store, spans) for stretch in stretches]
    inherited = _inherited(stretches[-1].line, seen.bases, journals, store, spans)

    entries, never_said = resolved(journals)
    problems += twice(entries)
    surviving: dict[int, Counter[int]] = {span: Counter(inherited[span]) for span in spans}
    discarded: dict[int, Counter[int]] = {span: Counter() for span in spans}
    kept = {stretch.line: limit for stretch, limit in zip(stretches, limits, strict=True)}
    for entry in entries:
        if entry.span not in surviving:
            problems.append(f"a journal speaks of span {entry.span}; the job has {len(spans)}")
            continue
        limit = kept.get(entry.line, {}).get(entry.span, 0) if entry.line in kept else 0
        where = surviving if limit is None or entry.ordinal <= limit else discarded
        where[entry.span][entry.g] += 1
    for entry in never_said:
        if entry.span in discarded:
            discarded[entry.span][entry.g] += 1
    problems += _gaps(entries, kept)
    problems += _contradictions(index, stored, of_index[0].line, entries)

    plan = plan_of(index.samples)
    done = index.step >= plan.steps if complete is None else complete
    before = set.intersection(*(set(ranges) for ranges in inherited.values()))
    # What some spans lack while the job runs is on its way to them.
    whole = set(range(plan.count)) if done else set.intersection(*(set(ranges) for ranges in stored.applied.values()))
    expected = whole - before
    skipped = {g for gs in stored.skipped.values() for g in gs} & expected
    skipped = {g for g in skipped if not any(counts[g] for counts in surviving.values())}

    def samples(ranges: Iterable[int]) -> int:
        return sum(plan.samples_of(g) for g in ranges)

    lost = {g for g in expected - skipped if any(counts[g] == 0 for counts in surviving.values())}
    return Audit(
        samples_total=samples(expected),
        samples_lost=samples(lost),
        samples_repeated=samples(_most(surviving.values(), above=1).elements()),
        samples_rolled_back=samples(_most(discarded.values(), above=0).elements()),
        samples_skipped=samples(skipped),
        residual_lost=stored.residual_lost,
        pushed=stored.pushed,
        wire_bytes=sum(journals.wire.values()),
        ranges=len(expected),
        pushes=len(journals.pushes),
        terms=len(seen.bases),
        problems=tuple(dict.fromkeys(problems)),
    )


def _most(counts: Iterable[Counter[int]], above: int) -> Counter[int]:
    """For each range by how much it is above `above`, on the span where that is most."""
    result: Counter[int] = Counter()
    for each in counts:
        for g, times in each.items():
            result[g] = max(result[g], times - above)
    return result


# --- lines ----------------------------------------------------------------------------------------------------------


def history(term: int, bases: Bases) -> list[Stretch]:
    """The lines of which the state of `term` is made, the newest first. Raises LineageBroken.

    A line has the number of the term that restored; a term that continues keeps the lines that are there.
    """
    stretches = []
    until = None
    for leg in legs(term, bases):
        if leg.until is not None:
            until = Step(leg.term, leg.until)
        if bases[leg.term].restored is not None:
            stretches.append(Stretch(leg.term, until))
    return stretches


def _limits(
    stretch: Stretch, journals: Journals, stretches: list[Stretch], store: Store, spans: Iterable[int]
) -> dict[int, int | None]:
    """Span -> the ordinal up to which the line counts. From the line that began there, else from the checkpoint."""
    if stretch.until is None:
        return dict.fromkeys(spans)
    child = stretches[stretches.index(stretch) - 1].line
    told: dict[int, int | None] = {**journals.begun.get((child, stretch.until), {})}
    missing = [span for span in spans if span not in told]
    if missing:
        with _needed(
            f"term {child} began from step {stretch.until.step} of term {stretch.until.term}; neither the journals "
            "nor the store say what was in it"
        ):
            parts = read_index(store, *stretch.until).parts
            told |= {span: read_span(store, parts[span].ref, span).ordinal for span in missing}
    return told


def _inherited(
    root: int, bases: Bases, journals: Journals, store: Store, spans: Iterable[int]
) -> dict[int, AppliedSet]:
    """Span -> what was in when the job began: nothing, unless `restoreFrom` named another job's checkpoint."""
    if root in journals.inherited:
        return {span: journals.inherited[root].get(span, AppliedSet()) for span in spans}
    name = bases[root].restored
    assert name is not None
    if name.step == 0:
        return {span: AppliedSet() for span in spans}
    with _needed(
        f"the job began from another job's checkpoint (step {name.step}), and what that had trained is not known"
    ):
        parts = read_index(store, *name).parts
        return {span: read_span(store, parts[span].ref, span).applied for span in spans}


@contextmanager
def _needed(without: str) -> Iterator[None]:
    """Nothing can be counted without what is read from the store here. Raises CannotCount."""
    try:
        yield
    except StoreError as error:
        if error.kind not in ("missing", "damaged"):
            raise
        raise CannotCount(f"{without}: {error.message}") from error


def _gaps(entries: Iterable[Entry], kept: Mapping[int, Mapping[int, int | None]]) -> list[str]:
    """Ordinals that are missing or doubled in the lines that count: a journal is not whole."""
    ordinals: dict[tuple[int, int], list[int]] = defaultdict(list)
    for entry in entries:
        if entry.line in kept:
            ordinals[entry.line, entry.span].append(entry.ordinal)
    problems = []
    for line, limits in kept.items():
        for span, limit in limits.items():
            there = sorted(number for number in ordinals[line, span] if limit is None or number <= limit)
            last = there[-1] if limit is None and there else limit or 0
            if there != list(range(1, last + 1)):
                problems.append(f"the journal of span {span}, line {line}, has {len(there)} of {last} pushes")
    return problems


def _contradictions(index: Index, stored: Stored, line: int, entries: Iterable[Entry]) -> list[str]:
    """Where the newest checkpoint says another thing than the journals: as many pushes, and each of them in its set."""
    numbers: Counter[int] = Counter()
    absent: set[tuple[int, int]] = set()
    for entry in entries:
        if entry.line == line and entry.ordinal <= stored.ordinals.get(entry.span, 0):
            numbers[entry.span] += 1
            if entry.g not in stored.applied[entry.span] or entry.g in stored.skipped[entry.span]:
                absent.add((entry.span, entry.g))
    where = f"checkpoint of step {index.step}, term {index.term}"
    problems = [
        f"{where}: span {span} counts {ordinal} pushes, its journal {numbers[span]}"
        for span, ordinal in stored.ordinals.items()
        if numbers[span] != ordinal
    ]
    return problems + [f"{where}: range {g} was pushed to span {span}, and is not in it" for span, g in sorted(absent)]


def _read_parts(store: Store, index: Index, live: Collection[str]) -> Stored:
    """One part after the other, so that only one is in memory."""
    ordinals, applied, skipped = {}, {}, {}
    lost = pushed = 0.0
    for part in index.parts:
        data = read_span(store, part.ref, part.span)
        ordinals[part.span] = data.ordinal
        applied[part.span] = data.applied
        skipped[part.span] = frozenset(data.skipped)
        lost += data.lost + sum(value for worker, value in data.residuals.items() if worker not in live)
        pushed += data.pushed
    return Stored(ordinals, applied, skipped, lost, pushed)
