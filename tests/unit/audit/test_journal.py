"""Journals: whole lines whatever happens to disk and process."""

import errno
import json
import os
from pathlib import Path

import pytest

from deepseek_runtime.edge.journal import Journal


def lines(path: Path) -> list[dict[str, int]]:
    return [json.loads(text) for text in path.read_text().splitlines()]


def test_lines_are_there_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / "pushes-0.jsonl")
    assert (tmp_path / "new" / "pushes-0.jsonl").stat().st_mode & 0o777 == 0o600
    journal.write({"g": 1})
    journal.write({"g": 2})
    assert lines(tmp_path / "new" / "pushes-0.jsonl") == [{"g": 1}, {"g": 2}]
    journal.close()
    journal.write({"g": 3})


def test_a_full_disk_loses_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "pushes-0.jsonl")
    real, room = os.write, [3, 0, 0]

    def full(file: int, data: bytes) -> int:
        left = room.pop(0)
        if left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data[:left])

    monkeypatch.setattr(os, "write", full)
    for g in range(3):
        journal.write({"g": g})
    monkeypatch.setattr(os, "write", real)
    journal.write({"g": 3})
    assert lines(tmp_path / "pushes-0.jsonl") == [{"g": 0}, {"g": 1}, {"g": 2}, {"g": 3}]


def test_the_next_process_begins_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "pushes-0.jsonl"
    path.write_text('{"g": 0}\n{"g"')
    Journal(path).write({"g": 1})
    assert path.read_text() == '{"g": 0}\n{"g"\n{"g":1}\n'


def test_no_folder_costs_no_job(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = Journal(tmp_path / "file" / "pushes-0.jsonl")
    journal.write({"g": 1})
    Journal(None).write({"g": 1})
