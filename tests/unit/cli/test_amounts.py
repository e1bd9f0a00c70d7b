"""Numbers as people read them."""

import pytest

from deepseek_operator.view import amounts


@pytest.mark.parametrize(
    "count, said",
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (3_100_000, "3.10 MB"), (999_600, "1.00 MB"), (1.45e9, "1.45 GB"),
     (2e18, "2000 PB")],
)  # fmt: skip
def test_size(count: float, said: str) -> None:
    assert amounts.size(count) == said


@pytest.mark.parametrize(
    "value, said",
    [(0, "0"), (9.24e-4, "0.000924"), (9.2e-6, "9.20e-06"), (0.0132, "0.0132"), (1.8312, "1.83"), (9.996, "10.0"),
     (25.14, "25.1"), (99.96, "100"), (811.6, "812"), (-2.5, "-2.50"), (float("nan"), "nan")],
)  # fmt: skip
def test_digits(value: float, said: str) -> None:
    assert amounts.digits(value) == said


@pytest.mark.parametrize(
    "value, said", [(8, "8x"), (83.4, "83.4x"), (1.004, "1x"), (1234.5, "1234x"), (0.857, "0.857x")]
)
def test_factor(value: float, said: str) -> None:
    assert amounts.factor(value) == said


@pytest.mark.parametrize(
    "seconds, said", [(0, "0:00"), (11.4, "0:11"), (725, "12:05"), (10859, "3:00:59"), (-3, "0:00")]
)
def test_clock(seconds: float, said: str) -> None:
    assert amounts.clock(seconds) == said


@pytest.mark.parametrize(
    "seconds, said",
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (3599, "59m"),
        (3600, "1h"),
        (11520, "3h12m"),
        (30000, "8h"),
        (172800, "2d"),
    ],
)
def test_age(seconds: float, said: str) -> None:
    assert amounts.age(seconds) == said


def test_sparkline_goes_from_the_lowest_to_the_highest() -> None:
    assert amounts.sparkline([8, 7, 6, 5, 4, 3, 2, 1], 8) == "█▇▆▅▄▃▂▁"
    assert amounts.sparkline(range(800), 8) == "▁▂▃▄▅▆▇█"
    assert amounts.sparkline([1, float("nan"), 2], 9) == "▁█"
    assert amounts.sparkline([5, 5, 5], 9) == "▁▁▁"
    assert amounts.sparkline([], 9) == amounts.sparkline([1], 0) == ""


def test_indices() -> None:
    assert amounts.indices([0, 1, 2, 3, 5, 7, 8]) == "0-3,5,7-8"
    assert amounts.indices([4]) == "4"
    assert amounts.indices([]) == ""
