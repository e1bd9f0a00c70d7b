"""Where there is no terminal: a line each ten seconds and one an event, for people or as JSON."""

from collections.abc import Sequence
from typing import Any

from deepseek_operator.api.status import JobEvent
from deepseek_operator.view import facts
from deepseek_operator.view.amounts import clock, digits, factor, iso, one_line, seconds_of, size
from deepseek_operator.view.sentence import message
from deepseek_operator.view.snapshot import Snapshot


def progress_line(shot: Snapshot) -> str:
    """ISO time, then step, loss, rate, wire, members, checkpoint, time left: what is known of these."""
    parts = [iso(shot.now)]
    if shot.phase != "Running":
        parts.append(shot.phase)
    progress, ratio = shot.progress, shot.ratio
    if shot.goal is not None:
        parts.append(f"step {facts.step(shot)} {facts.percent(shot)}")
    if progress is not None:
        if progress.loss is not None:
            parts.append(f"loss {digits(progress.loss)}")
        if not shot.over:
            parts.append(f"{digits(progress.samples_per_second)} samples/s")
        if progress.wire_bytes:
            fewer = f" ({factor(ratio.whole)} fewer than dense)" if ratio is not None and ratio.whole >= 1 else ""
            parts.append(f"wire {size(progress.wire_bytes)}{fewer}")
    status = shot.status
    parts.append(f"workers {status.workers.ready}/{status.workers.desired}")
    parts.append(f"servers {status.servers.ready}/{status.servers.desired}")
    if progress is not None and progress.checkpoint is not None:
        parts.append(f"ckpt {progress.checkpoint.step}")
    if shot.eta is not None:
        parts.append(f"eta {clock(shot.eta)}")
    said = shot.notice or ("" if shot.phase == "Running" else message(shot))
    return one_line(" ".join(parts) + (f": {said}" if said else ""))


def event_line(event: JobEvent) -> str:
    """Its own time, `event`, its type if it is a warning, reason and message."""
    at = seconds_of(event.time)
    kind = "warning" if event.type == "Warning" else "event"
    return one_line(f"{iso(at) if at is not None else event.time} {kind} {facts.event(event)}")


def fresh(before: Sequence[JobEvent], after: Sequence[JobEvent]) -> list[JobEvent]:
    """The events of `after` that `before` has not; one that happened again counts as new."""
    known = {(event.time, event.reason, event.message) for event in before}
    return [event for event in after if (event.time, event.reason, event.message) not in known]


def progress_json(shot: Snapshot) -> dict[str, Any]:
    """The same as the plain line, and the rest of the progress, as one JSON object."""
    status, ratio = shot.status, shot.ratio
    return {
        "type": "progress",
        "time": iso(shot.now),
        "job": shot.name,
        "phase": shot.phase,
        "step": shot.step,
        "steps": shot.goal,
        "etaSeconds": round(shot.eta, 1) if shot.eta is not None else None,
        "servers": {"ready": status.servers.ready, "desired": status.servers.desired},
        "workers": {"ready": status.workers.ready, "desired": status.workers.desired},
        "timesFewerThanDense": ratio_json(shot) if ratio is not None else None,
        "progress": status.progress.model_dump(exclude={"events"}) if status.progress is not None else None,
        "message": message(shot),
        "notice": shot.notice,
    }


def ratio_json(shot: Snapshot) -> dict[str, float] | None:
    ratio = shot.ratio
    if ratio is None:
        return None
    return {
        "whole": round(ratio.whole, 3),
        "localSteps": ratio.local_steps,
        "compression": round(ratio.compression, 3),
    }


def event_json(shot: Snapshot, event: JobEvent) -> dict[str, Any]:
    said = event.model_dump(by_alias=True)
    return {"type": "event", "time": event.time, "job": shot.name, "event": said}
