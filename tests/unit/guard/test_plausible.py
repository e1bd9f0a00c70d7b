"""What is beyond, what is a drift, what is neither; and how often that is wrong."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from deepseek_runtime.guard.plausible import Plausible, cusum_threshold
from deepseek_runtime.guard.tail import fitted

Series = Callable[[np.random.Generator, int], "np.ndarray[tuple[int], np.dtype[np.float64]]"]


def falling(random: np.random.Generator, count: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """As losses do: to a hundredth of where they began, noise in proportion to them."""
    level = 0.02 + 2.3 * np.exp(-np.arange(count) / 500)
    made: np.ndarray[tuple[int], np.dtype[np.float64]] = level * np.exp(random.normal(0.0, 0.3, count))
    return made


HEALTHY: dict[str, Series] = {
    "falling": falling,
    "heavy tails": lambda random, count: 1.0 + 0.1 * random.standard_t(4, count),
    "skewed": lambda random, count: random.gamma(2.0, 0.1, count),
    "negative, as of a density": lambda random, count: -5.0 - np.arange(count) / 1e4 + random.normal(0.0, 0.2, count),
    "constant": lambda random, count: np.full(count, 0.7),
    "all but nothing": lambda random, count: np.abs(random.normal(0.0, 1e-6, count)),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_series_give_no_alarm(name: str) -> None:
    values = HEALTHY[name](np.random.default_rng(7), 30_000)
    judge = Plausible(1e-6, 32, material=0.1, apart=0.7)
    assert [place for place, value in enumerate(values) if judge.judge(float(value)) != "fine"] == []


@pytest.mark.parametrize(
    "value, verdict",
    [
        (0.02, "fine"),
        (0.05, "fine"),
        (0.2, "fine"),  # undoes less than a tenth of what was won
        (2.3, "beyond"),  # as bad as the beginning
        (50.0, "beyond"),
        (math.inf, "beyond"),
        (math.nan, "beyond"),
        (0.0, "fine"),
        (-1.0, "fine"),
    ],
)
def test_one_value_after_a_fallen_loss(value: float, verdict: str) -> None:
    judge = Plausible(1e-6, 32, material=0.1, apart=0.7)
    for healthy in falling(np.random.default_rng(1), 3000):
        judge.judge(float(healthy))
    assert judge.judge(value) == verdict


def test_a_step_up_below_the_limit_is_a_drift_and_soon() -> None:
    random = np.random.default_rng(3)
    judge = Plausible(1e-6, 32, material=0.1, apart=0.7)
    for _ in range(500):
        judge.judge(float(1.0 + random.normal(0.0, 0.05)))
    found = [judge.judge(float(1.8 + random.normal(0.0, 0.05))) for _ in range(10)]
    assert "drift" in found[:6] or "beyond" in found[:6]


def test_nothing_is_judged_while_it_warms_up_but_what_is_not_finite() -> None:
    judge = Plausible(1e-6, 16)
    assert [judge.judge(value) for value in (1.0, 100.0, 1e9, math.nan)] == ["fine", "fine", "fine", "beyond"]
    assert judge.limit == math.inf and judge.expected is None


def test_the_next_chief_goes_on_where_the_last_one_was() -> None:
    first, second = Plausible(1e-6, 32, 0.1, 0.7), Plausible(1e-6, 32, 0.1, 0.7)
    for value in falling(np.random.default_rng(5), 2000):
        first.judge(float(value))
    second.recall(first.memory())
    assert second.limit == pytest.approx(first.limit)
    assert second.judge(2.0) == "beyond"
    third = Plausible(1e-6, 32)
    third.recall({"level": 1.0})
    assert third.limit == math.inf


def test_what_is_how_it_is_now_is_learnt_anew() -> None:
    judge = Plausible(1e-6, 8, 0.1, 0.7)
    for _ in range(50):
        judge.judge(1.0)
    assert judge.judge(5.0) == "beyond"
    judge.begin_anew()
    assert {judge.judge(5.0) for _ in range(50)} == {"fine"}


@pytest.mark.parametrize("risk", [1e-3, 1e-4])
def test_the_run_test_has_the_mean_time_that_it_states(risk: float) -> None:
    """Page's sum of normal values, several times its mean time between alarms; Siegmund's is good to some percent."""
    random, threshold = np.random.default_rng(0), cusum_threshold(risk)
    total, alarms, count = 0.0, 0, int(40 / risk)
    for value in random.normal(0.0, 1.0, count):
        total = max(0.0, total + value - 1.0)
        if total > threshold:
            alarms, total = alarms + 1, 0.0
    assert 0.5 / risk < count / max(1, alarms) < 2.0 / risk


@pytest.mark.parametrize("draw, exact", [("exponential", 9.21), ("normal", 3.72)])
def test_a_fitted_tail_reaches_about_as_far_as_the_true_one(draw: str, exact: float) -> None:
    """The quantile at 1e-4 from 2,048 values, 100 times: rather too far than too near."""
    random = np.random.default_rng(2)
    found = [fitted(np.sort(getattr(random, draw)(size=2048)), 1e-4) for _ in range(100)]
    assert exact < float(np.median(found)) < exact * 1.7
