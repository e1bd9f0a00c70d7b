"""metrics.jsonl as curves: what survived a roll-back, what was given up, bytes over terms, marks."""

import json
from pathlib import Path
from typing import Any

import pytest

from deepseek_operator.api.status import Recovery
from deepseek_operator.curves import Curves, read_curves, smoothed


def push(term: int, step: int, wire: int, time: float, loss: float | None = 1.0) -> dict[str, Any]:
    return {"time": time, "term": term, "step": step, "wire": wire, "g": step, "worker": "worker-0-0", "loss": loss}


def event(term: int, step: int, time: float, reason: str, text: str = "", **fields: Any) -> dict[str, Any]:
    return {"time": time, "event": reason, "text": text, "term": term, "step": step, **fields}


def read(tmp_path: Path, rows: list[dict[str, Any]], recoveries: tuple[Recovery, ...] = (), tail: str = "") -> Curves:
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)
    return read_curves("digits", file, recoveries)


ROLL_BACK = [
    event(1, 0, 0.0, "TermOpened", restored_step=0),
    push(1, 0, 100, 1.0),
    push(1, 8, 200, 2.0),
    event(1, 8, 2.5, "Evaluated", "step 8: accuracy 0.5", accuracy=0.5),
    event(1, 16, 3.0, "CheckpointSaved", "step 10"),
    push(1, 16, 300, 3.5),
    push(1, 24, 400, 4.0),
    event(1, 24, 4.5, "Evaluated", "step 24: accuracy 0.75", accuracy=0.75),
    event(2, 16, 9.0, "TermOpened", restored_step=10),
    push(2, 16, 50, 10.0),
    push(2, 24, 150, 11.0),
]


def test_what_a_roll_back_gave_up(tmp_path: Path) -> None:
    curves = read(tmp_path, ROLL_BACK)
    # The push of range 16 stood at step 16 already, and was trained again all the same.
    assert [(point.step, point.time) for point in curves.points] == [(0, 1), (8, 2), (16, 10), (24, 11)]
    assert [[point.time for point in gone] for gone in curves.given_up] == [[3.5, 4]]
    assert [point.time for point in curves.trail(curves.given_up[0])] == [2, 3.5, 4]
    assert [one.step for one in curves.evaluations] == [8]
    assert [(one.step, one.values) for one in curves.given_up_evaluations] == [(24, {"accuracy": 0.75})]
    (back,) = curves.of("roll-back")
    assert (back.step, back.back_to, back.wire, back.text) == (24, 16, 400, "back to step 16")


def test_bytes_add_up_over_terms(tmp_path: Path) -> None:
    assert [point.wire for point in read(tmp_path, ROLL_BACK).points] == [100, 200, 450, 550]


def test_two_roll_backs(tmp_path: Path) -> None:
    again = [event(3, 16, 12.0, "TermOpened"), push(3, 24, 70, 13.0)]
    curves = read(tmp_path, ROLL_BACK + again)
    assert [[point.time for point in gone] for gone in curves.given_up] == [[3.5, 4], [11]]
    assert [point.time for point in curves.points] == [1, 2, 10, 13]
    assert curves.points[-1].wire == 620


def test_a_continued_term_gives_nothing_up(tmp_path: Path) -> None:
    rows = [push(1, 0, 100, 1.0), event(2, 8, 2.0, "TermOpened"), push(2, 8, 10, 3.0)]
    curves = read(tmp_path, rows)
    assert (len(curves.points), curves.given_up, curves.of("roll-back")) == (2, [], [])


def test_checkpoints_stand_where_they_were_due(tmp_path: Path) -> None:
    (saved,) = read(tmp_path, ROLL_BACK).of("checkpoint")
    assert (saved.step, saved.wire) == (10, 200)


def test_a_checkpoint_that_took_long_stands_where_its_step_was_reached(tmp_path: Path) -> None:
    rows = [push(1, step, 100 + step, float(step)) for step in range(0, 40, 8)]
    rows.append(event(1, 32, 40.0, "CheckpointSaved", "step 16"))
    (saved,) = read(tmp_path, rows).of("checkpoint")
    assert (saved.step, saved.wire, saved.time) == (16, 116, 40.0)


def test_lost_members_from_status_and_events(tmp_path: Path) -> None:
    rows = [
        push(1, 0, 100, 100.0),
        event(1, 8, 110.0, "WorkerLost", "worker-1-0: no heartbeat"),
        event(1, 8, 111.0, "WorkerLost", "worker-2-0: no heartbeat"),
        event(1, 8, 112.0, "WorkerLost", "worker-2-0: replaced"),
        event(1, 8, 113.0, "WorkerLeft", "worker-0-0"),
        push(1, 16, 200, 120.0),
    ]
    lost = (
        Recovery(role="worker", index=1, at_step=4, lost_at=105.0),
        Recovery(role="server", index=0, at_step=12, lost_at=115.0),
        Recovery(role="etcd", index=0, at_step=16, lost_at=121.0),
    )
    curves = read(tmp_path, rows, lost)
    assert [(mark.kind, mark.step, mark.wire, mark.text) for mark in curves.marks] == [
        ("worker", 4, 100, "worker 1 lost"),
        ("worker", 0, 100, "worker 2: no heartbeat"),
        ("server", 12, 100, "server 0 lost"),
        ("etcd", 16, 200, "etcd lost"),
    ]


def test_what_is_no_number_is_no_loss(tmp_path: Path) -> None:
    rows = [push(1, 0, 1, 1.0, None), push(1, 8, 2, 2.0, float("nan")), push(1, 16, 3, 3.0, 0.5)]
    rows.append(event(1, 16, 4.0, "Evaluated", accuracy=0.1, loss=float("nan")))
    curves = read(tmp_path, rows)
    assert [point.loss for point in curves.points] == [None, None, 0.5]
    assert curves.evaluations[0].values == {"accuracy": 0.1}


def test_torn_and_foreign_lines_are_passed_over(tmp_path: Path) -> None:
    curves = read(tmp_path, ROLL_BACK, tail='[1]\n"x"\n{"time": 99, "g"')
    assert len(curves.points) == 4


def test_no_file_no_points(tmp_path: Path) -> None:
    assert read_curves("digits", tmp_path / "none.jsonl").points == []


@pytest.mark.parametrize(
    "width, expected", [(1, [1, 2, 6, 3]), (3, [1.5, 3, 11 / 3, 4.5]), (99, [3, 3, 3, 3])], ids=["raw", "three", "all"]
)
def test_running_mean(width: int, expected: list[float]) -> None:
    assert smoothed([1, 2, 6, 3], width) == expected
    assert smoothed([], width) == []
