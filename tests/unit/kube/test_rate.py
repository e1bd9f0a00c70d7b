"""A bound on requests, in time that is given."""

from dataclasses import dataclass

import pytest

from deepseek_operator.kube import Rate


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_burst_then_the_rate() -> None:
    clock = Clock()
    rate = Rate(2.0, 3, clock)
    assert [rate.reserve(10.0) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(0.5)]
    assert rate.reserve(0.4) is None
    clock.now = 2.0
    assert rate.reserve(0.0) == 0.0


def test_what_is_not_taken_costs_nothing() -> None:
    clock = Clock()
    rate = Rate(1.0, 1, clock)
    rate.reserve(0.0)
    assert [rate.reserve(0.0) for _ in range(5)] == [None] * 5
    clock.now = 1.0
    assert rate.reserve(0.0) == 0.0


def test_the_bucket_does_not_overflow() -> None:
    clock = Clock()
    rate = Rate(1.0, 2, clock)
    clock.now = 1000.0
    assert [rate.reserve(0.0) for _ in range(3)] == [0.0, 0.0, None]
