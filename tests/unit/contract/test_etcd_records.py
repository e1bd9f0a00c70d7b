"""The bytes under the etcd keys, as docs/formats/etcd.md promises them. They outlive versions: change a golden file
only by adding a field that has a default."""

import json
from pathlib import Path

import pytest

from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.contract.records import (
    CheckpointRef,
    Command,
    Finished,
    GuardState,
    Progress,
    Record,
    Registration,
    Request,
    ServerSeat,
    State,
    TermRecord,
)

GOLDEN = Path(__file__).parent / "golden"

RECORDS: dict[str, Record] = {
    "term": TermRecord(
        number=3,
        servers=(
            ServerSeat(index=0, incarnation=2, address="tcp://10.0.0.7:7077"),
            ServerSeat(index=1, incarnation=0, address="tcp://10.0.0.8:7077"),
        ),
        sources=(ServerSeat(index=2, incarnation=1, address="tcp://10.0.0.9:7077"),),
        restore=True,
    ),
    "registration-server": Registration(address="tcp://10.0.0.7:7077", incarnation=2, state="starting"),
    "registration-worker": Registration(incarnation=1, state="draining", trained=41),
    "state": State(opened=3, finished=Finished(term=3, step=20000), drained=2),
    "progress": Progress(
        term=3,
        step=1200,
        steps=20000,
        epoch=0.75,
        loss=0.25,
        metrics={"accuracy": 0.984375},
        metrics_step=1000,
        samples_per_second=5120.5,
        workers=3,
        checkpoint=CheckpointRef(term=2, step=1000),
        checkpoint_time=1767225600.0,
        wire_bytes=1048576,
        dense_bytes=273678336,
        local_steps=8,
        samples_repeated=256,
        samples_rolled_back=512,
        residual_lost=0.125,
        pushed=96.5,
        staleness_p50=2.0,
        staleness_p95=5.0,
        loss_scale=65536.0,
        guard=GuardState(
            step="slow",
            anomalies=4,
            learning_rate_factor=0.5,
            held=3,
            roll_backs=1,
            loss_expected=0.25,
            loss_limit=1.5,
            loss_memory={"level": 0.5},
            update_memory={"level": 1.5},
            saved_loss_memory={"level": 0.75},
            saved_update_memory={"level": 2.5},
        ),
        parameters=28506,
        ranges_done=150,
        last_range_time=1767225601.5,
        longest_gap=1.75,
        events=("17 CheckpointWritten step 1000 in 0.4 s",),
    ),
    "request-roll-back": Request(kind="roll_back", term=3, reason="loss is NaN since step 1100"),
    "request-fail": Request(kind="fail", term=3, reason="the data sets of workers 0 and 2 differ in length", code=65),
    "command": Command(kind="checkpoint"),
    "command-acknowledged": Command(kind="checkpoint", acknowledged=True, outcome="t3/step-1200"),
}


@pytest.mark.parametrize("name", RECORDS)
def test_written_as_promised(name: str) -> None:
    assert json.loads(RECORDS[name].model_dump_json()) == json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.mark.parametrize("name", RECORDS)
def test_what_was_written_then_is_read_now_and_later_fields_are_ignored(name: str) -> None:
    record = RECORDS[name]
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    assert type(record).model_validate_json(json.dumps(golden)) == record
    assert type(record).model_validate_json(json.dumps({**golden, "of_a_later_version": {"x": 1}})) == record


def test_every_golden_file_has_its_record() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} >= RECORDS.keys()


def test_keys() -> None:
    keys = JobKeys.of("dsj", "default", "digits", "6f1c")
    assert keys.term == "/deepseek/dsj/default/digits/6f1c/term"
    assert keys.state == "/deepseek/dsj/default/digits/6f1c/state"
    assert keys.progress == "/deepseek/dsj/default/digits/6f1c/progress"
    assert keys.member("server", 0) == "/deepseek/dsj/default/digits/6f1c/members/server/0"
    assert keys.request("a") == "/deepseek/dsj/default/digits/6f1c/requests/a"
    assert keys.command("b") == "/deepseek/dsj/default/digits/6f1c/commands/b"
