"""`dsj why`: one sentence on why a job does not run, or what failed, and what to do."""

from dataclasses import dataclass

from deepseek_operator.api.status import Failure
from deepseek_operator.view import facts
from deepseek_operator.view.amounts import age, one_line
from deepseek_operator.view.snapshot import Snapshot
from deepseek_runtime.contract.exit_codes import CONFIG, MISSING_INPUT, USAGE, USER_CODE
from deepseek_runtime.contract.names import COMMAND

LONG = 60.0
"""Seconds without a range done that people are told of; a large model's may take as long."""
_REMEDY = {
    USAGE: "mend the task's reference or its arguments in the manifest",
    USER_CODE: "mend the code or the data",
    MISSING_INPUT: "bring what is missing into place",
    CONFIG: "mend the manifest",
}


@dataclass(frozen=True, slots=True)
class Why:
    sentence: str
    reason: str
    """CamelCase, for programs."""
    remedy: str = ""


def why(shot: Snapshot) -> Why:
    status, name = shot.status, shot.name
    failure = status.last_failure
    if shot.abandoned:
        log = f"its log: {shot.folder}/logs/supervisor.log" if shot.folder else ""
        remedy = f"{COMMAND} run --resume {name}"
        if shot.members_live:
            return Why(f"the supervisor of {name} is gone, its members run on ({log})", "Orphaned", remedy)
        return Why(f"{name} ended without its supervisor's word ({log})", "Interrupted", remedy)
    if status.phase == "Succeeded":
        return Why(f"{name} has succeeded: step {facts.step(shot)}", "Succeeded", f"{COMMAND} export {name}")
    if status.phase == "Failed":
        reason = _reason(shot, "Failed")
        cause = status.message or (failure_words(failure) if failure is not None else "the reason was not written down")
        return Why(f"{name} has failed: {cause}", reason, _after(shot))
    if status.phase == "Suspended":
        return Why(f"{name} is suspended at step {shot.step}", "Suspended", f"{COMMAND} run --resume {name}")
    if status.message:
        reason = next((_reason(shot, t) for t in ("Blocked", "Restarting", "Degraded") if _true(shot, t)), "")
        last = f"; last failure: {failure_words(failure)}" if failure is not None and reason else ""
        return Why(f"{name} is {shot.phase.lower()}: {status.message}{last}", reason or _reason(shot, "Running"))
    if status.phase == "Running":
        last = f"; the last failure, mended: {failure_words(failure)}" if failure is not None else ""
        still = facts.still(shot)
        if still is not None and still >= LONG:
            text = f"{name} is running, but finished no range for {age(still)}: step {facts.step(shot)}"
            return Why(f"{text}; a batch that takes so long, or code that waits?", "NoProgress",
                       f"{COMMAND} logs {name} --role worker")  # fmt: skip
        return Why(f"{name} is running, nothing is wrong: step {facts.step(shot)}{last}", "Training")
    return Why(f"{name} is {shot.phase.lower()}", _reason(shot, "Running") or status.phase)


def message(shot: Snapshot) -> str:
    """What the status says, unless nobody is there to keep it true: then that."""
    return why(shot).sentence if shot.abandoned else shot.status.message


def failure_words(failure: Failure) -> str:
    """worker 1 ended with exit code 65, UserCodeRaised: train.py line 3: no such column"""
    who = f"{failure.role} {failure.index}"
    if failure.exit_code is None:
        return one_line(f"{who}: {failure.message or failure.reason}")
    said = f": {failure.message}" if failure.message else ""
    return one_line(f"{who} ended with exit code {failure.exit_code}, {failure.reason}{said}")


def _after(shot: Snapshot) -> str:
    failure, name = shot.status.last_failure, shot.name
    if failure is None:
        return f"{COMMAND} events {name}"
    logs = f"{COMMAND} logs {name} --role {failure.role} --index {failure.index}"
    remedy = _REMEDY.get(failure.exit_code) if failure.exit_code is not None else None
    anew = f"{COMMAND} run --replace for a new start"
    again = f"then {anew}" if shot.namespace else f"then {COMMAND} run --resume {name}, or {anew}"
    return f"{logs} shows more; {remedy}, {again}" if remedy else f"{logs} shows more, {again}"


def _true(shot: Snapshot, type_: str) -> bool:
    return any(c.type == type_ and c.status == "True" for c in shot.status.conditions)


def _reason(shot: Snapshot, type_: str) -> str:
    return next((c.reason for c in shot.status.conditions if c.type == type_), "")
