"""Step by step up the ladder, and all at once down again."""

from collections.abc import Callable

import pytest

from deepseek_runtime.guard.ladder import Climb, Ladder

LADDER = Ladder(calm_ranges=4, slow_after=3, slow_factor=0.5, back_after=5, backs=1)


def climb(events: str, made: Climb | None = None) -> Climb:
    """b: a range beyond; d: a drift; f: a fine one; r: the roll-back is asked for."""
    made = made or Climb(LADDER)
    acts: dict[str, Callable[[], object]] = {"b": made.beyond, "d": made.drift, "f": made.fine, "r": made.ask_back}
    for event in events:
        acts[event]()
    return made


@pytest.mark.parametrize(
    "events, step, lr",
    [
        ("", "calm", 1.0),
        ("ffff", "calm", 1.0),
        ("b", "precise", 1.0),
        ("bb", "held", 1.0),
        ("bfb", "held", 1.0),
        ("bbb", "slow", 0.5),
        ("bbbb", "slow", 0.5),
        ("bbbbb", "back", 0.5),
        ("bbbfbb", "slow", 0.5),  # one was fine: the weights are not at fault
        ("bbbffff", "calm", 1.0),
        ("bffff", "calm", 1.0),
        ("d", "precise", 1.0),
        ("dd", "slow", 0.5),
        ("ddd", "back", 0.25),
        ("dffffd", "precise", 1.0),
    ],
)
def test_where_it_stands(events: str, step: str, lr: float) -> None:
    made = climb(events)
    assert (made.step, made.lr) == (step, lr)
    assert made.precise == (step != "calm")


def test_trouble_that_comes_back_soon_lasts_twice_as_long() -> None:
    made = climb("bffff")
    assert made.step == "calm"
    assert climb("bffff", made).step == "precise"
    assert climb("ffff", made).step == "calm"
    assert climb("ffffffffbffff", made).step == "calm"


def test_it_goes_back_so_often_and_then_takes_it_as_it_is() -> None:
    made = climb("bbbbbr")
    assert (made.step, made.backs) == ("back", 1)
    after = Climb(LADDER)
    after.resume(made.step, made.lr, made.backs, made.anomalies)
    assert (after.step, after.lr, after.anomalies) == ("slow", 0.25, 0)
    found = [after.beyond() for _ in range(20)]
    assert after.step == "slow"
    assert found == [False] * 19 + [True]
    after.accept()
    assert (after.step, after.lr) == ("calm", 1.0)


def test_a_roll_back_that_nobody_carries_out_holds_nothing_up() -> None:
    made = climb("bbbbbrffff")
    assert (made.step, made.lr, made.backs) == ("calm", 1.0, 1)


def test_never_back_where_that_is_not_wanted() -> None:
    made = Climb(Ladder(4, 3, 0.5, 5, backs=0))
    for _ in range(10):
        made.beyond()
    assert made.step == "slow"
