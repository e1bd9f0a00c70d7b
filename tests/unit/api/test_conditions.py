"""Conditions: how they change, and the phase that follows from them."""

import pytest

from deepseek_operator.api.conditions import Conditions, derive_phase, get, set_condition
from deepseek_operator.api.status import Condition

T0, T1 = 1_000_000_000.7, 1_000_000_060.0
STAMP0, STAMP1 = "2001-09-09T01:46:40Z", "2001-09-09T01:47:40Z"


def test_the_time_moves_only_when_the_status_does() -> None:
    first = set_condition((), "Running", True, "Training", now=T0)
    same = set_condition(first, "Running", True, "Training", "now slower", now=T1, generation=2)
    other = set_condition(same, "Running", False, "Lost", now=T1)
    assert get(first, "Running") == Condition(
        type="Running", status="True", reason="Training", last_transition_time=STAMP0
    )
    assert [c.last_transition_time for c in (*first, *same, *other)] == [STAMP0, STAMP0, STAMP1]
    assert (same[0].message, same[0].observed_generation) == ("now slower", 2)


def test_nothing_new_gives_the_very_same_conditions() -> None:
    conditions = set_condition((), "Blocked", None, "EtcdUnknown", now=T0)
    assert set_condition(conditions, "Blocked", None, "EtcdUnknown", now=T1) is conditions
    assert conditions[0].status == "Unknown"


@pytest.mark.parametrize(
    "true,phase",
    [
        ("", "Pending"),
        ("Created", "Starting"),
        ("Created Running", "Running"),
        ("Created Running Degraded", "Degraded"),
        ("Created Restarting", "Restarting"),
        ("Created Blocked Restarting", "Blocked"),
        ("Created Suspended", "Suspended"),
        ("Created Failed Finished Blocked", "Failed"),
        ("Created Succeeded Finished", "Succeeded"),
    ],
)
def test_the_phase_follows_from_the_conditions(true: str, phase: str) -> None:
    conditions: Conditions = ()
    for type_ in true.split():
        conditions = set_condition(conditions, type_, True, "Because", now=T0)  # type: ignore[arg-type]
    assert derive_phase(conditions) == phase
