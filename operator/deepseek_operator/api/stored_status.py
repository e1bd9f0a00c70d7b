"""A job's status as the resource has it, for `kubectl describe` to read well; and back to the JobStatus of the plans.

What is empty is left out, a time is a date-time, and what only the operator needs from one round to the next is one
JSON text, `workings`. Operators before this form stored the whole JobStatus as it is, and it is read too. No field has
another type under the same name in the two: while one version takes the other's place, neither's writes are refused.
"""

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from deepseek_operator.api.status import Columns, Condition, Failure, JobStatus, Part, Recovery, RoleStatus
from deepseek_operator.api.times import Time, seconds, stamp
from deepseek_runtime.contract.records import GuardState, Progress

_AS_IT_IS = (
    "phase", "observed_generation", "message", "conditions", "columns", "selector", "servers", "workers",
    "last_failure", "restarts", "restarts_total", "drain_outcome", "exit_code",
)  # fmt: skip
_IN_OTHER_WORDS = ("progress", "recoveries", "started", "finished", "events")
_WORKINGS = tuple(name for name in JobStatus.model_fields if name not in (*_AS_IT_IS, *_IN_OTHER_WORDS))
_TIMES = ("checkpoint_time", "last_range_time")
_COUNTED = ("samples_counted", "samples_lost", "samples_repeated", "samples_rolled_back", "samples_skipped")
_FOR_THE_NEXT_CHIEF = ("loss_memory", "update_memory", "saved_loss_memory", "saved_update_memory")
"""Of the guard: it is read in etcd."""
_RECOVERED = ("role", "index", "cause", "at_step", "seconds", "longest_gap", "restored_step")
_RECOVERING = ("incarnation", "last_range", "gap_before")


class StatusUnreadable(Exception):
    """The status of an object does not parse: another version's, or written by hand."""


class Shown(Part):
    model_config = ConfigDict(use_attribute_docstrings=True)


class ShownProgress(Shown):
    """What the chief last told of the whole job: step, steps, loss, metrics, samplesPerSecond, wireBytes, denseBytes,
    samplesLost, samplesRepeated and more, as the runtime's version has it."""

    checkpoint_time: Time | None = None
    """When the newest checkpoint was complete."""
    last_range_time: Time | None = None
    """When a range was last done."""


class ShownRecovery(Shown):
    """One lost member, from its loss until its replacement has itself finished a range (or etcd holds all again)."""

    role: str
    """Of whom: server or worker."""
    index: int
    """Of the member in its role."""
    time: Time | None = None
    """When it was lost."""
    cause: str = ""
    """How."""
    at_step: int
    """The step that the job had reached."""
    seconds: float | None = None
    """Until the replacement worked; absent while it has not."""
    longest_gap: float | None = None
    """Seconds: the longest time without a range done meanwhile."""
    restored_step: int | None = None
    """The checkpoint that all went back to; absent: nobody went back."""


class StoredStatus(Shown):
    """What the operator says of the job."""

    phase: str = "Pending"
    """One word for people, which follows from the conditions."""
    message: str = ""
    """What keeps the job from training, in one sentence; absent when all is well."""
    observed_generation: int = 0
    """The metadata.generation that all of this is about."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
    ] = ()
    """The truth about the job; docs/reasons has a page for each reason that asks something of you."""
    columns: Columns = Columns()
    """What `kubectl get` shows."""
    progress: ShownProgress | None = None
    """What the chief last told."""
    servers: RoleStatus = RoleStatus()
    """The parameter servers, counted."""
    workers: RoleStatus = RoleStatus()
    """The workers, counted."""
    selector: str = ""
    """Labels of the workers' pods, for the scale subresource and an HPA."""
    restarts: int = 0
    """Losses counted against runPolicy.backoffLimit since everySteps steps were last done."""
    restarts_total: int = 0
    """Members that were replaced after a failure."""
    last_failure: Failure | None = None
    """The newest failure: who, where, how."""
    recoveries: tuple[ShownRecovery, ...] = ()
    """The newest members that were lost, and how long each was missed."""
    drain_outcome: str = ""
    """What came of the newest drain."""
    start_time: Time | None = None
    """When the operator first saw the job, or when it was resumed."""
    completion_time: Time | None = None
    """When it succeeded or failed."""
    exit_code: int | None = None
    """Of a job that has ended, as docs/reference/exit-codes.md has it."""
    workings: str = ""
    """The operator's own bookkeeping, one JSON text. Not to be read or written by anybody else: it changes with any
    version."""


def stored(status: JobStatus) -> dict[str, Any]:
    """As the API server keeps it: no null, nothing empty, no number that JSON does not have, and no events."""
    told = {to_camel(name): _plain(getattr(status, name)) for name in _AS_IT_IS}
    if status.progress is not None:
        told["progress"] = _shown_progress(status.progress)
    told["recoveries"] = [_shown_recovery(one) for one in status.recoveries]
    told["startTime"], told["completionTime"] = status.started, status.finished
    workings = {to_camel(name): _plain(getattr(status, name), defaults=False) for name in _WORKINGS}
    if status.progress is not None:
        workings["events"] = status.progress.events[-1:]  # what was told before it is known by its being before it
    workings["recovering"] = [
        _plain(one.model_dump(include=set(_RECOVERING), by_alias=True)) if one.seconds is None else {}
        for one in status.recoveries
    ]
    if not any(workings["recovering"]):
        del workings["recovering"]
    told["workings"] = json.dumps(
        {key: value for key, value in workings.items() if value not in (None, "", (), [], {}, 0)},
        sort_keys=True, separators=(",", ":"), ensure_ascii=False,
    )  # fmt: skip
    return {key: value for key, value in told.items() if not _is_empty(value)}


def read_status(item: Mapping[str, Any]) -> JobStatus:
    """The status of a DeepseekJob as the API server has it, in either form. Raises StatusUnreadable."""
    data = item.get("status") or {}
    try:
        return JobStatus.model_validate(_joined(data) if "workings" in data else data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StatusUnreadable(f"status.{where}: {first['msg']}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise StatusUnreadable(f"status.workings: {error}") from error


def _joined(data: Mapping[str, Any]) -> dict[str, Any]:
    """As the whole JobStatus is."""
    workings = json.loads(data["workings"])
    found = {to_camel(name): data[to_camel(name)] for name in _AS_IT_IS if to_camel(name) in data}
    found |= {to_camel(name): workings[to_camel(name)] for name in _WORKINGS if to_camel(name) in workings}
    found["started"], found["finished"] = data.get("startTime", ""), data.get("completionTime", "")
    if "progress" in data:
        found["progress"] = _read_progress(data["progress"]) | {"events": workings.get("events", ())}
    recoveries = data.get("recoveries") or []
    recovering = workings.get("recovering") or []
    if len(recovering) != len(recoveries):  # they are of two writers: what is waited for is not known any more
        recovering = [{}] * len(recoveries)
    found["recoveries"] = [
        {**one, "lostAt": seconds(one["time"]) if "time" in one else 0.0, **more}
        for one, more in zip(recoveries, recovering, strict=True)
    ]
    return found


def _shown_progress(progress: Progress) -> dict[str, Any]:
    """camelCase; what was counted is told also when it is 0."""
    told: dict[str, Any] = {}
    for name, field in Progress.model_fields.items():
        value = getattr(progress, name)
        counted = progress.samples_counted and name in _COUNTED
        if name == "events" or (value == field.default and not field.is_required() and not counted):
            continue
        told[to_camel(name)] = stamp(value) if name in _TIMES else _plain(value)
    if progress.guard is not None:
        guard = progress.guard.model_dump(exclude=set(_FOR_THE_NEXT_CHIEF))
        told["guard"] = {to_camel(name): value for name, value in guard.items() if value is not None}
    return {key: value for key, value in told.items() if not _is_empty(value)}


def _read_progress(told: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: told[to_camel(name)] for name in Progress.model_fields if to_camel(name) in told}
    if "guard" in found:
        guard = found["guard"]
        found["guard"] = {name: guard[to_camel(name)] for name in GuardState.model_fields if to_camel(name) in guard}
    return found | {name: seconds(found[name]) for name in _TIMES if name in found}


def _shown_recovery(recovery: Recovery) -> dict[str, Any]:
    told = _plain(recovery.model_dump(include=set(_RECOVERED), by_alias=True))
    return {**told, "time": stamp(recovery.lost_at)}


def _plain(value: Any, *, defaults: bool = True) -> Any:
    """As JSON has it, without what is empty. defaults: whether what is as it is by default is told."""
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(by_alias=True, exclude_defaults=not defaults))
    if isinstance(value, dict):
        told = {key: _plain(item, defaults=defaults) for key, item in value.items()}
        return {key: item for key, item in told.items() if not _is_empty(item)}
    if isinstance(value, (list, tuple)):
        return [_plain(item, defaults=defaults) for item in value]
    return value


def _is_empty(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return value is None or value in ("", [], {}, ())
