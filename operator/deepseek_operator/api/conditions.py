"""Conditions of a job: how they change together, and the phase that people see, derived and never read back."""

from collections.abc import Iterable
from typing import Literal

from deepseek_operator.api.status import Condition, ConditionType
from deepseek_operator.api.times import rfc3339

Conditions = tuple[Condition, ...]
Phase = Literal[
    "Pending",
    "Blocked",
    "Starting",
    "Running",
    "Degraded",
    "Restarting",
    "Draining",
    "Suspended",
    "Succeeded",
    "Failed",
]

_ORDER: tuple[ConditionType, ...] = (
    "Created", "Running", "Restarting", "Degraded", "Suspended", "Blocked", "Succeeded", "Failed", "Finished",
    "Isolated",
)  # fmt: skip


def get(conditions: Iterable[Condition], type_: ConditionType) -> Condition | None:
    return next((condition for condition in conditions if condition.type == type_), None)


def set_condition(
    conditions: Conditions,
    type_: ConditionType,
    status: bool | None,
    reason: str,
    message: str = "",
    *,
    now: float,
    generation: int = 0,
) -> Conditions:
    """The conditions with one of them set; None: Unknown. The transition time moves only when the status does.

    Returns `conditions` itself when nothing changes, so that a writer can tell.
    """
    word: Literal["True", "False", "Unknown"] = "Unknown" if status is None else "True" if status else "False"
    old = get(conditions, type_)
    since = old.last_transition_time if old is not None and old.status == word else rfc3339(now)
    new = Condition(
        type=type_,
        status=word,
        reason=reason,
        message=message,
        last_transition_time=since,
        observed_generation=generation,
    )
    if new == old:
        return conditions
    kept = [condition for condition in conditions if condition.type != type_]
    return tuple(sorted([*kept, new], key=lambda condition: _ORDER.index(condition.type)))


def derive_phase(conditions: Iterable[Condition]) -> Phase:
    """One word for people. Ends first, then what keeps a job from training, then how it trains."""
    conditions = tuple(conditions)
    true = {condition.type for condition in conditions if condition.status == "True"}
    if "Succeeded" in true:
        return "Succeeded"
    if "Failed" in true:
        return "Failed"
    if "Suspended" in true:
        return "Suspended"
    if any(condition.type == "Suspended" and condition.reason == "Draining" for condition in conditions):
        return "Draining"
    if "Blocked" in true:
        return "Blocked"
    if "Restarting" in true:
        return "Restarting"
    if "Running" in true:
        return "Degraded" if "Degraded" in true else "Running"
    return "Starting" if "Created" in true else "Pending"
