"""What the chief makes of pushes and of ranges that workers held back: notes, leases, requests, a memory."""

import math
from typing import Any

import numpy as np
import pytest

from deepseek_runtime.contract.config import Guard
from deepseek_runtime.guard.caution import Held
from deepseek_runtime.protocol.effects import Effect, Note, RollBack
from deepseek_runtime.protocol.guarding import Guarding

CONFIG = Guard(mode="act", warmup_ranges=16, calm_ranges=3, slow_after=2, roll_back_after=4, max_roll_backs=1)
LOSS = Held(precise=True)


def guarding(**changes: Any) -> Guarding:
    """Of a run that has come from 2 to 0.1 in 200 ranges."""
    keywords = {"gradient": False, "lowered": False, **{k: v for k, v in changes.items() if k != "config"}}
    made = Guarding(changes.get("config", CONFIG), **keywords)
    made.opened(restored=False)
    random = np.random.default_rng(0)
    for g in range(200):
        loss = (0.1 + 2 * math.exp(-g / 30)) * math.exp(random.normal(0.0, 0.1))
        assert made.pushed({"g": g, "loss": float(loss), "update": float(random.uniform(0.1, 0.2))}) == []
    return made


def said(effects: list[Effect]) -> list[str]:
    return [e.reason if isinstance(e, Note) else type(e).__name__ for e in effects]


def test_step_by_step_and_calm_again() -> None:
    made = guarding()
    told = [said(made.held(300 + turn, LOSS, "too much")[1]) for turn in range(4)]
    assert told == [
        ["LossImplausible", "PrecisionRaised"],
        ["StepShrunk"],
        [],
        ["RollBackWanted", "RollBack"],
    ]
    assert made.caution is not None and made.caution.precise and made.caution.lr == 0.5
    assert not made.calm
    state = made.state
    assert state is not None
    assert (state.step, state.held, state.roll_backs, state.anomalies) == ("back", 4, 1, 4)

    after = Guarding(CONFIG, False, False, state)
    after.opened(restored=False)
    # Another term came first, so nothing was rolled back: as it was.
    assert after.state is not None and (after.state.step, after.state.learning_rate_factor) == ("slow", 0.5)
    restored = Guarding(CONFIG, False, False, state.model_copy(update={"saved_loss_memory": state.loss_memory}))
    restored.opened(restored=True)
    assert restored.state is not None and (restored.state.step, restored.state.learning_rate_factor) == ("slow", 0.25)
    assert restored.caution is not None and restored.caution.loss_limit == pytest.approx(made.caution.loss_limit)
    assert restored.caution.update_limit is None  # nothing was saved of it: learnt anew
    found = [said(restored.pushed({"g": g, "loss": 0.1, "update": 0.15})) for g in range(400, 404)]
    assert found == [[], [], ["LossCalm"], []]
    assert restored.calm and restored.caution.loss_limit is not None and restored.caution.loss_limit < 2.0


@pytest.mark.parametrize("lowered, precise, again", [(False, False, False), (True, False, True), (True, True, False)])
def test_a_range_of_lower_precision_is_trained_again_once(lowered: bool, precise: bool, again: bool) -> None:
    made = guarding(lowered=lowered)
    held = Held(precise)
    assert made.held(300, held, "too much")[0] == again
    assert made.held(300, held, "too much")[0] is False
    assert made.state is not None and made.state.held == (1 if again else 2)


@pytest.mark.parametrize("gradient, lr, slower", [(False, 0.5, 1.0), (True, 1.0, 0.5)])
def test_smaller_steps_are_the_workers_or_the_leases(gradient: bool, lr: float, slower: float) -> None:
    made = guarding(gradient=gradient)
    for g in (300, 301):
        made.held(g, LOSS, "too much")
    assert made.caution is not None
    assert (made.caution.lr, made.slower) == (lr, slower)


def test_watching_tells_and_does_nothing() -> None:
    made = guarding(config=CONFIG.model_copy(update={"mode": "watch"}))
    found = [said(made.pushed({"g": g, "loss": 9.0, "update": 0.1})) for g in range(300, 312)]
    assert found[0] == ["LossImplausible"]
    assert {reason for one in found[1:] for reason in one} <= {"LossAccepted", "LossImplausible"}
    assert (made.caution, made.slower, made.calm) == (None, 1.0, True)
    assert made.state is not None and made.state.learning_rate_factor == 1.0


def test_off_is_nothing() -> None:
    made = Guarding(Guard(), False, False)
    made.opened(restored=False)
    assert [made.pushed({"g": g, "loss": math.inf}) for g in range(3)] == [[], [], []]
    assert (made.caution, made.state, made.slower, made.calm) == (None, None, 1.0, True)


@pytest.mark.parametrize("push", [{"g": 300, "loss": 9.0, "update": 0.1}, {"g": 300, "loss": 0.1, "update": 50.0}])
def test_what_came_in_under_an_older_lease_is_noticed_all_the_same(push: dict[str, float]) -> None:
    assert said(guarding().pushed(push)) == ["LossImplausible", "PrecisionRaised"]


def test_a_roll_back_is_asked_for_so_often_and_no_more() -> None:
    made = guarding()
    asked = [e for g in range(300, 330) for e in made.held(g, LOSS, "too much")[1] if isinstance(e, RollBack)]
    assert len(asked) == 1


def test_what_stays_non_finite_goes_back_before_the_job_would_end() -> None:
    made = guarding()
    told = [said(made.non_finite(300 + turn, "NaN")) for turn in range(3)]
    assert told == [["LossImplausible", "PrecisionRaised"], ["StepShrunk", "RollBackWanted", "RollBack"], []]
    assert made.going_back
    assert Guarding(Guard(), False, False).non_finite(1, "NaN") == []
