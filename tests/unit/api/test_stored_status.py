"""A job's status as the resource has it: what people read, and what the next round goes on from."""

import json
from typing import Any

import pytest

from builders.world import EPOCH, World
from deepseek_operator.api.status import JobStatus, Recovery
from deepseek_operator.api.stored_status import StatusUnreadable, StoredStatus, read_status, stored
from deepseek_runtime.contract.records import CheckpointRef, Progress

EVENTS = ("1 TermOpened term 1: 2 servers, from checkpoint of step 0", "2 CheckpointSaved step 1000")


def lived() -> JobStatus:
    """Of a job that has a member lost and one replaced, whose chief has told something."""
    world = World(local=False).running()
    world.train(1200, loss=0.5, checkpoint=CheckpointRef(term=1, step=1000), checkpoint_time=EPOCH + 1.5, events=EVENTS)
    world.settle()
    world.end("worker", 0, 1, "UserCodeRaised", "boom", range=7).settle()
    world.kill("server", 1).settle()
    return world.status


def test_round_trip_is_the_same_status_less_events_that_were_told() -> None:
    status = lived()
    assert status.progress is not None
    back = read_status({"status": json.loads(json.dumps(stored(status)))})
    newest = status.progress.model_copy(update={"events": status.progress.events[-1:]})
    assert back == status.model_copy(update={"events": (), "progress": newest})


def test_what_an_older_operator_wrote_is_the_same_status() -> None:
    status = lived()
    older = status.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"events"})
    assert read_status({"status": older}) == status.model_copy(update={"events": ()})


def test_no_field_has_another_type_in_the_two_forms() -> None:
    """The one version's writes are judged by the other's schema while one takes the other's place."""
    status = lived().model_copy(update={"finished": "2026-01-01T00:00:00.000Z"})
    older = status.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"events"})
    assert same_types(older, stored(status))


def same_types(older: Any, newer: Any) -> bool:
    if isinstance(older, dict) and isinstance(newer, dict):
        return all(same_types(older[key], newer[key]) for key in older.keys() & newer.keys())
    if isinstance(older, list) and isinstance(newer, list):
        return all(same_types(one, other) for one, other in zip(older, newer, strict=True))
    return type(older) is type(newer)


def test_nothing_is_empty_and_times_are_date_times() -> None:
    told = stored(lived())
    workings = json.loads(told.pop("workings"))
    assert list(empty(told)) == []
    assert list(empty(workings)) == ["recovering"], "which lines up with recoveries"
    assert told["progress"]["checkpointTime"] == "2023-11-14T22:13:21.500Z"
    assert told["progress"]["checkpoint"] == {"term": 1, "step": 1000}
    assert {one["role"]: one["time"][:11] for one in told["recoveries"]} == dict.fromkeys(
        ("worker", "server"), "2023-11-14T"
    )
    assert "events" not in told["progress"]
    assert workings["events"] == [EVENTS[-1]]


def empty(value: Any, path: str = "") -> list[str]:
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in empty(item, f"{path}.{key}".lstrip("."))]
    if isinstance(value, list) and value and path != "recovering":
        return [found for item in value for found in empty(item, path)]
    return [path] if value in ("", [], None) or value == {} or path == "recovering" else []


def test_nothing_that_people_read_is_unknown_to_the_schema() -> None:
    told = stored(lived().model_copy(update={"exit_code": 0, "finished": "2026-01-01T00:00:00.000Z"}))
    known = {info.alias for info in StoredStatus.model_fields.values()}
    assert told.keys() <= known


def test_a_count_is_told_though_it_is_nought() -> None:
    progress = Progress(term=1, step=9, steps=9, samples_counted=True)
    told = stored(JobStatus(progress=progress))["progress"]
    assert (told["samplesCounted"], told["samplesLost"], told["samplesRepeated"]) == (True, 0, 0)
    assert "samplesLost" not in stored(JobStatus(progress=Progress(term=1, step=9, steps=9)))["progress"]


def test_numbers_that_json_does_not_have_are_left_out() -> None:
    progress = Progress(term=1, step=1, steps=2, loss=float("nan"), metrics={"a": float("inf"), "b": 1.0})
    told = stored(JobStatus(progress=progress))["progress"]
    assert "loss" not in told
    assert told["metrics"] == {"b": 1.0}


def test_of_a_recovery_that_is_over_only_what_people_read_is_kept() -> None:
    over = Recovery(role="worker", index=0, at_step=3, lost_at=EPOCH, seconds=2.5, incarnation=1, last_range=EPOCH)
    told = stored(JobStatus(recoveries=(over,)))
    assert told["recoveries"] == [
        {"role": "worker", "index": 0, "atStep": 3, "seconds": 2.5, "time": "2023-11-14T22:13:20.000Z"}
    ]
    assert "recovering" not in told["workings"]


def test_recoveries_that_the_workings_do_not_line_up_with_are_told_as_they_are() -> None:
    """As where two versions wrote in turn."""
    told = stored(JobStatus(recoveries=(Recovery(role="worker", index=0, at_step=3, incarnation=2),)))
    told["recoveries"].append({"role": "server", "index": 1, "atStep": 5})
    found = read_status({"status": told}).recoveries
    assert [(one.role, one.at_step, one.incarnation) for one in found] == [("worker", 3, 0), ("server", 5, 0)]


def test_a_new_object_has_no_workings_yet() -> None:
    assert read_status({"status": {"phase": "Pending", "columns": {"step": "-"}}}) == JobStatus()
    assert read_status({}) == JobStatus()


@pytest.mark.parametrize(
    "status,said",
    [
        ({"opened": "many"}, r"status\.opened"),
        ({"workings": '{"opened": "many"}'}, r"status\.opened"),
        ({"workings": "{"}, r"status\.workings"),
        ({"workings": "[]"}, r"status\.workings"),
        ({"workings": "{}", "recoveries": [{"time": "yesterday"}]}, r"status\.workings"),
    ],
)
def test_unreadable_status_says_which_field(status: dict[str, Any], said: str) -> None:
    with pytest.raises(StatusUnreadable, match=said):
        read_status({"metadata": {"name": "x"}, "status": status})
