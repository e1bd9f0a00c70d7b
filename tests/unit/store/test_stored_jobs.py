"""What is stored, and its removal, as an admin has them in the store's pod."""

import json
import os
import time
from pathlib import Path

import pytest

from deepseek_runtime.stored_jobs import main

OLD = time.time() - 3 * 86400


def stored(root: Path, name: str, files: tuple[str, ...] = ("t1/step-0/index.json",), at: float = OLD) -> None:
    for file in files:
        path = root / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1024)
    for path in (root / name, *(root / name).rglob("*")):
        os.utime(path, (at, at))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    stored(tmp_path, "a/digits/u1", ("t1/step-0/index.json", "t1/step-8/index.json", "t1/step-8/span-0.safetensors"))
    stored(tmp_path, "a/digits/u2")
    stored(tmp_path, "a/text/u3")
    stored(tmp_path, "b/digits/u4")
    return tmp_path


def names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.glob("*/*/*"))


def run(root: Path, *arguments: str) -> int:
    return main(["--folder", str(root), *arguments])


def test_list(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["a/digits/u1", "a/digits/u2", "a/text/u3", "b/digits/u4"]
    assert "2 checkpoints, 0.0 MiB, written 3 d ago" in lines[0]
    assert run(root, "list", "a/digits", "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["bytes"], one["checkpoints"]) for one in found] == [
        ("a/digits/u1", 3072, 2),
        ("a/digits/u2", 1024, 1),
    ]
    assert run(root, "list", "c") == 0
    assert capsys.readouterr().out == "nothing is stored\n"


def test_remove_all_of_a_name_and_nothing_else(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "remove", "a/digits") == 0
    assert names(root) == ["a/text/u3", "b/digits/u4"]
    assert capsys.readouterr().out.count("removed ") == 2
    assert run(root, "remove", "b/digits/u4") == 0
    assert not (root / "b").exists()


@pytest.mark.parametrize(
    "name,code,says",
    [
        ("a", 64, "name a job"),
        ("a/digit", 66, "nothing is stored of a/digit"),
        ("a/*", 66, "nothing"),
        ("a/../b", 66, "nothing"),
        ("../x/y", 66, "nothing"),
        ("a/digits/u1/t1", 66, "nothing"),
    ],
)
def test_what_is_no_job_is_not_removed(
    root: Path, name: str, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = names(root)
    assert run(root, "remove", name, "--force") == code
    assert says in capsys.readouterr().err
    assert names(root) == before


def test_a_job_at_work_is_kept(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(root, "a/digits/u2", at=time.time())
    assert run(root, "remove", "a/digits") == 1
    assert "a/digits/u2 was written" in capsys.readouterr().err
    assert len(names(root)) == 4
    assert run(root, "remove", "a/digits", "--force") == 0
    assert names(root) == ["a/text/u3", "b/digits/u4"]


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none", "remove", "a/b") == 66
    assert "Traceback" not in capsys.readouterr().err
