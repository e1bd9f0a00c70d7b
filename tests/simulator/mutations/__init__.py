"""Each rule left out once: one method of the real code replaced by one that does not keep it.

A mutation is caught when a trace fails, or a random schedule does. `caught(name)` says by what.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from simulator import schedule
from simulator.mutations import backup, chief, opening, operating, servers, worker
from simulator.mutations.mutation import Mutation
from simulator.traces import TRACES

SEEDS = 60
"""Random schedules that are tried when no trace catches a mutation."""

MUTATIONS: dict[str, Mutation] = {
    **worker.MUTATIONS,
    **servers.MUTATIONS,
    **chief.MUTATIONS,
    **opening.MUTATIONS,
    **operating.MUTATIONS,
    **backup.MUTATIONS,
}


@contextmanager
def mutated(name: str) -> Iterator[None]:
    mutation = MUTATIONS[name]
    kept = mutation.owner.__dict__[mutation.name]
    original = kept.__func__ if isinstance(kept, staticmethod) else kept
    setattr(mutation.owner, mutation.name, mutation.make(original))
    try:
        yield
    finally:
        setattr(mutation.owner, mutation.name, kept)


def caught(name: str, seeds: int = SEEDS) -> str:
    """What reports a violation with this rule left out: `trace N ...` or `seed N`; empty when nothing does."""
    number = _numbers(MUTATIONS[name].rule)
    first = sorted(TRACES, key=lambda trace: trace.split("_")[0] not in number)
    with mutated(name):
        for trace in first:
            try:
                TRACES[trace]()
            except AssertionError:  # a Violation, or what the trace says itself
                return f"trace {trace}"
        for seed in range(seeds):
            if schedule.run(seed).violation:
                return f"seed {seed}"
    return ""


def _numbers(rule: str) -> list[str]:
    inside = rule[rule.find("(") + 1 : rule.rfind(")")] if "(" in rule else ""
    return [number.strip() for number in inside.split(",")]
