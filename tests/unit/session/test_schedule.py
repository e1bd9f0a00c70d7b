"""The learning rate is a function of the global step."""

import pytest

from deepseek_runtime.contract.config import Optimizer
from deepseek_runtime.schedule import factor, learning_rate


@pytest.mark.parametrize(
    "schedule,step,expected",
    [
        ("constant", 0, 0.25),
        ("constant", 3, 1.0),
        ("constant", 99, 1.0),
        ("cosine", 1, 0.5),
        ("cosine", 4, 1.0),
        ("cosine", 52, 0.5),
        ("cosine", 100, 0.0),
        ("linear", 4, 1.0),
        ("linear", 52, 0.5),
        ("linear", 100, 0.0),
        ("linear", 250, 0.0),
    ],
)
def test_factor(schedule: str, step: int, expected: float) -> None:
    optimizer = Optimizer.model_validate({"schedule": schedule, "warmup_steps": 4, "lr": 0.2})
    assert factor(optimizer, step, 100) == pytest.approx(expected, abs=1e-9)
    assert learning_rate(optimizer, step, 100) == pytest.approx(0.2 * expected, abs=1e-9)


def test_a_warm_up_longer_than_the_job_stays_in_range() -> None:
    optimizer = Optimizer(schedule="cosine", warmup_steps=50)
    assert [0 < factor(optimizer, step, 10) <= 1 for step in range(10)] == [True] * 10
