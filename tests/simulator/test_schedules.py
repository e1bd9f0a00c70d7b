"""Random schedules: whoever is killed, paused or cut off, every sample counts once, and the job ends."""

import pytest

from simulator.schedule import run, shape_of

SEEDS = 500
PART = 50


@pytest.mark.parametrize("first", range(0, SEEDS, PART))
def test_schedules(first: int) -> None:
    """A failing seed is shown by `python -m simulator --seed N --trace`."""
    failed = {seed: outcome.violation for seed in range(first, first + PART) if (outcome := run(seed)).violation}
    assert not failed


def test_the_same_seed_is_the_same_schedule() -> None:
    seed = next(seed for seed in range(100) if shape_of(seed).workers > 1)
    one, other = run(seed, trace=True), run(seed, trace=True)
    assert one.log == other.log
    assert len(one.log) > 100


def test_faults_take_place() -> None:
    assert {fault for seed in range(20) for fault in run(seed).faults} > {"kill a worker", "kill a server", "link cut"}
