"""Level, trend and spread of a series, with wild values in it."""

import numpy as np
import pytest

from deepseek_runtime.guard.forecast import Forecast

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("wild", [0, 1, 5])
@pytest.mark.parametrize("slope", [-0.02, 0.0, 0.01])
def test_a_line_with_noise_is_followed_whatever_lies_beside_it(slope: float, wild: int) -> None:
    noise = np.random.default_rng(1).normal(0.0, 0.1, 400)
    values = [3.0 + slope * place + noise[place] for place in range(400)]
    for place in range(wild):
        values[-2 - 40 * place] = 1000.0
    made = Forecast.of(values[:32], floor=0.01)
    for value in values[32:]:
        made.take(value)
    assert made.next == pytest.approx(3.0 + slope * 400, abs=0.25)
    assert 0.05 < made.spread < 0.3


def test_wild_first_values_do_not_matter() -> None:
    first = [1.0, 1.1, 0.9, 50.0, 1.0, 1.05, 0.95, -50.0, 1.0]
    made = Forecast.of(first, floor=0.01)
    assert made.next == pytest.approx(1.0, abs=0.2)
    assert made.spread < 0.3


def test_a_constant_has_the_least_spread() -> None:
    made = Forecast.of([2.0] * 8, floor=0.05)
    for _ in range(100):
        made.take(2.0)
    assert made.next == pytest.approx(2.0)
    assert made.spread == 0.05
