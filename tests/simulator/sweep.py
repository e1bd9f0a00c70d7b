"""Many schedules, several processes: what `make bench-exactly-once` and `make test` count."""

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from statistics import median

from simulator.faults import KINDS
from simulator.mutations import MUTATIONS, caught
from simulator.schedule import Outcome, run

CHUNK = 50
"""Schedules handed to a process at once."""


@dataclass(frozen=True, slots=True)
class Schedules:
    count: int
    failures: list[tuple[int, str]]
    """(seed, what was violated)"""
    median_faults: float
    shares: dict[str, float]
    """Of each kind of fault, the share of schedules in which it took place."""
    slowest: float
    """Virtual seconds: the longest time from the end of the last fault to the end of a job."""


@dataclass(frozen=True, slots=True)
class Mutations:
    by: dict[str, str] = field(default_factory=dict)
    """Rule left out -> the trace or seed that reported it; empty: missed."""

    @property
    def tried(self) -> int:
        return len(self.by)

    @property
    def missed(self) -> list[str]:
        return [name for name, what in self.by.items() if not what]


def schedules(count: int, processes: int = 2, first: int = 0) -> Schedules:
    """Plays seeds `first` to `first + count - 1`."""
    chunks = [range(seed, min(seed + CHUNK, first + count)) for seed in range(first, first + count, CHUNK)]
    outcomes: list[Outcome] = []
    if processes <= 1:
        for chunk in chunks:
            outcomes += _played(chunk)
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            for played in pool.map(_played, chunks):
                outcomes += played
    seen: Counter[str] = Counter()
    for outcome in outcomes:
        seen.update(set(outcome.faults))
    return Schedules(
        len(outcomes),
        [(outcome.seed, outcome.violation) for outcome in outcomes if outcome.violation],
        float(median(len(outcome.faults) for outcome in outcomes)),
        {kind: seen[kind] / len(outcomes) for kind in KINDS},
        max(outcome.after for outcome in outcomes),
    )


def _played(seeds: range) -> list[Outcome]:
    return [run(seed) for seed in seeds]


def mutations() -> Mutations:
    """Leaves each rule out once."""
    return Mutations({name: caught(name) for name in MUTATIONS})
