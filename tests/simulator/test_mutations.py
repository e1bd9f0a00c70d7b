"""A simulator proves itself: with any one rule left out, a trace or a random schedule reports a violation."""

import pytest

from simulator.mutations import MUTATIONS, caught, mutated
from simulator.traces import TRACES


@pytest.mark.parametrize("name", MUTATIONS)
def test_caught(name: str) -> None:
    assert caught(name), f"{MUTATIONS[name].rule} was left out and nothing noticed"


def test_rules_are_put_back() -> None:
    mutation = next(iter(MUTATIONS.values()))
    before = mutation.owner.__dict__[mutation.name]
    with mutated(next(iter(MUTATIONS))):
        assert mutation.owner.__dict__[mutation.name] is not before
    assert mutation.owner.__dict__[mutation.name] is before


def test_each_trace_is_there() -> None:
    numbers = (name.split("_")[0] for name in TRACES)
    assert {int(number) for number in numbers if number.isdecimal()} == set(range(1, 21))  # others have names alone
