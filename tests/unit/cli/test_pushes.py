"""The curve and the rates of a view, from metrics.jsonl as it grows."""

import json
from pathlib import Path

import pytest

from deepseek_operator import pushes
from deepseek_operator.pushes import Pushes


def row(time: float, worker: str, loss: float, samples: int = 256) -> str:
    return json.dumps({"time": time, "worker": worker, "samples": samples, "loss": loss}) + "\n"


def test_losses_in_order_and_only_of_pushes(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    read = Pushes(file)
    read.read()
    assert read.losses == []
    file.write_text(
        row(1, "worker-0-0", 2.5) + '{"time":2,"event":"Evaluated","loss":0.1}\n' + row(3, "worker-1-0", 2.25)
    )
    read.read()
    assert read.losses == [2.5, 2.25]
    with file.open("a") as out:
        out.write(row(4, "worker-0-0", 2.0)[:20])
        out.flush()
        read.read()
        assert read.losses == [2.5, 2.25], "half a line is not read"
        out.write(row(4, "worker-0-0", 2.0)[20:])
    read.read()
    read.read()
    assert read.losses == [2.5, 2.25, 2.0]


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(row(1, "worker-0-0", 2.5) + row(2, "worker-0-0", 2.4))
    read = Pushes(file)
    read.read()
    file.write_text(row(9, "worker-0-0", 7.0))
    read.read()
    assert read.losses == [7.0]


def test_a_long_file_is_read_from_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushes, "TAIL", 200)
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(row(time, "worker-0-0", float(time)) for time in range(100)))
    read = Pushes(file)
    read.read()
    assert read.losses == [98.0, 99.0], "the line that is cut in half is left out"


def test_rates_count_from_the_first_push_of_the_window(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    lines = [
        row(10, "worker-0-0", 1.0),
        row(72, "worker-0-0", 1.0),
        row(76, "worker-0-0", 1.0),
        row(80, "worker-0-0", 1.0),
    ]
    file.write_text("".join(lines) + row(79, "worker-1-0", 1.0))
    read = Pushes(file)
    read.read()
    assert read.rates(80.0) == {"worker-0-0": 2 * 256 / 8}
    assert read.rates(200.0) == {}
