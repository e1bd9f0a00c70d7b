"""What stands at the end of a run: result, figures, what it cost, what went wrong, and what to do next."""

from collections.abc import Iterator
from typing import Any

from deepseek_operator.view import facts
from deepseek_operator.view.amounts import clock, count, digits, seconds_of
from deepseek_operator.view.facts import Row
from deepseek_operator.view.lines import ratio_json
from deepseek_operator.view.sentence import message, why
from deepseek_operator.view.snapshot import ASCII_SIGNS, SIGNS, Snapshot
from deepseek_runtime.contract.names import COMMAND

_SHOWN = 5


def summary(shot: Snapshot, code: int, *, unicode: bool = True) -> list[str]:
    sign = (SIGNS if unicode else ASCII_SIGNS).get(shot.phase, "?")
    took = f" after {clock(shot.took)}" if shot.took is not None else ""
    lines = [f"{shot.name}  {sign} {shot.phase}{took}, exit code {code}"]
    rows = list(_rows(shot))
    width = max((len(row.label) for row in rows), default=0)
    lines += [f"  {row.label:<{width}}  {row.text}" for row in rows]
    return lines


def next_steps(shot: Snapshot) -> list[str]:
    """Commands, the most useful first."""
    name = shot.name
    if shot.status.phase == "Succeeded":
        return [f"{COMMAND} export {name}", f"{COMMAND} plot {name}", f"{COMMAND} logs {name}"]
    if shot.status.phase == "Failed":
        again = f"{COMMAND} events {name}" if shot.namespace else f"{COMMAND} run --resume {name}"
        return [f"{COMMAND} why {name}", f"{COMMAND} logs {name}", again]
    if shot.attended and not shot.over:
        return running_steps(name)
    if shot.abandoned and shot.members_live:
        return [f"{COMMAND} run --resume {name}", f"{COMMAND} stop {name}", f"{COMMAND} logs {name} --role supervisor"]
    if shot.suspended or shot.abandoned:
        return [f"{COMMAND} run --resume {name}", f"{COMMAND} why {name}", f"{COMMAND} delete {name}"]
    return running_steps(name)


def running_steps(name: str) -> list[str]:
    """Of a job that runs, whatever its last status says."""
    return [f"{COMMAND} watch {name}", f"{COMMAND} logs {name} -f", f"{COMMAND} stop {name}"]


def summary_json(shot: Snapshot, code: int) -> dict[str, Any]:
    status = shot.status
    return {
        "type": "end",
        "job": shot.name,
        "phase": shot.phase,
        "exitCode": code,
        "message": message(shot) or shot.notice,
        "seconds": round(shot.took, 3) if shot.took is not None else None,
        "timesFewerThanDense": ratio_json(shot),
        "progress": status.progress.model_dump(exclude={"events"}) if status.progress is not None else None,
        "recoveries": [one.model_dump(by_alias=True) for one in status.recoveries],
        "restarts": status.restarts_total,
        "lastFailure": status.last_failure.model_dump(by_alias=True) if status.last_failure is not None else None,
        "checkpoints": checkpoint_folder(shot),
        "folder": shot.folder,
        "namespace": shot.namespace,
    }


def checkpoint_folder(shot: Snapshot) -> str:
    """As the manifest says, else the job's own folder, or the store of the cluster's operator."""
    storage = shot.job.spec.checkpoint.storage if shot.job is not None else None
    if shot.namespace and storage is not None and storage.uri is None:
        claim = storage.pvc
        return "the operator's own store" if claim is None else f"the claim {claim.claim_name}"
    uri = storage.uri if storage is not None else None
    return uri or (f"{shot.folder}/checkpoints" if shot.folder else "")


def _rows(shot: Snapshot) -> Iterator[Row]:
    status, progress = shot.status, shot.progress
    said = why(shot)
    if status.phase != "Succeeded":
        yield Row("why", said.sentence)
        if said.remedy:
            yield Row("do", said.remedy)
    if progress is None:
        return
    yield Row("steps", f"{facts.step(shot)}{_pace(shot)}")
    if progress.loss is not None:
        yield Row("loss", digits(progress.loss))
    yield from facts.evaluation(shot)
    yield from facts.guard(shot)
    yield from facts.wire(shot)
    yield from facts.losses(shot)
    if progress.samples_skipped:
        yield Row("skipped", count(progress.samples_skipped, "sample"))
    found = status.recoveries
    for place, one in enumerate(found[-_SHOWN:]):
        label = "" if place else f"recoveries ({len(found)})" if len(found) > _SHOWN else "recoveries"
        yield Row(label, facts.recovery(one))
    if progress.checkpoint is not None:
        yield Row("saved", f"step {progress.checkpoint.step} in {checkpoint_folder(shot)}")


def _pace(shot: Snapshot) -> str:
    """Over the time of training, from the first term's opening: what came before was start-up."""
    progress, job = shot.progress, shot.job
    opened = next((seconds_of(e.time) for e in shot.status.events if e.reason == "TermOpened"), None)
    if progress is None or job is None or opened is None or progress.last_range_time is None:
        return ""
    seconds = progress.last_range_time - opened
    if seconds <= 0 or progress.term != 1:
        return ""
    rate = progress.step * job.spec.training.batch_size / seconds
    return f" in {clock(seconds)} of training, {digits(rate)} samples/s"
