"""Logs of several members in one stream, those that are gone, those that are born later."""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deepseek_operator.cli.main import dsj
from deepseek_operator.state_folder import Identity, StateFolder, default_state_root
from deepseek_operator.view.log_lines import merged

ROOT = Path(__file__).parents[3]


def line(second: int, text: str) -> str:
    return f"2026-11-24T15:04:{second:02d}.000Z INFO {text}\n"


@pytest.fixture
def folder() -> StateFolder:
    made = StateFolder(default_state_root() / "digits")
    made.logs.mkdir(parents=True)
    made.identity_file.write_text(Identity(uid="u1", generation="g1").model_dump_json())
    (made.logs / "worker-0-0.log").write_text(line(1, "old life") + line(4, "killed"))
    (made.logs / "worker-0-1.log").write_text(line(5, "born") + line(8, "trains"))
    (made.logs / "server-0-0.log").write_text(line(3, "listening") + "Traceback:\n  file\n" + line(6, "opened"))
    (made.logs / "supervisor.log").write_text("2026-11-24 15:04:02,000 INFO started\n")
    return made


def logs(*arguments: str) -> Result:
    return CliRunner().invoke(dsj, ["logs", "digits", *arguments])


def test_the_living_by_time_with_their_names(folder: StateFolder) -> None:
    shown = [text.split(" | ")[0].strip() + " " + text.split()[-1] for text in logs().stdout.splitlines()]
    assert shown == [
        "server-0-0 listening", "server-0-0 Traceback:", "server-0-0 file", "worker-0-1 born", "server-0-0 opened",
        "worker-0-1 trains",
    ]  # fmt: skip


def test_one_member_alone_has_no_prefix(folder: StateFolder) -> None:
    assert logs("--role", "worker", "--index", "0").stdout == line(5, "born") + line(8, "trains")
    assert logs("--role", "supervisor").stdout == "2026-11-24 15:04:02,000 INFO started\n"


def test_previous_incarnations(folder: StateFolder) -> None:
    assert logs("--role", "worker", "--index", "0", "--previous").stdout == line(1, "old life") + line(4, "killed")
    nobody = logs("--role", "server", "--previous")
    assert (nobody.exit_code, nobody.stdout) == (66, "")
    assert "no member of digits was replaced (server)" in nobody.stderr


def test_tail_is_of_each_log(folder: StateFolder) -> None:
    assert [text.split()[-1] for text in logs("--tail", "1").stdout.splitlines()] == ["opened", "trains"]
    (folder.logs / "worker-0-1.log").write_text("".join(line(9, f"n{n}") for n in range(50)))
    assert logs().stdout.count("worker-0-1") == 20
    assert logs("--role", "worker", "--index", "0").stdout.count("INFO") == 50
    assert logs("--tail", "0").stdout == ""


def test_json_lines(folder: StateFolder) -> None:
    said = [json.loads(text) for text in logs("-o", "json", "--role", "worker").stdout.splitlines()]
    assert said[0] == {"member": "worker-0-1", "time": "2026-11-24T15:04:05.000000", "line": line(5, "born").rstrip()}


def test_nobody_of_that_index(folder: StateFolder) -> None:
    result = logs("--role", "worker", "--index", "7")
    assert (result.exit_code, result.stdout) == (66, "")
    assert "there are no logs of worker 7 in digits" in result.stderr


def test_lines_without_a_time_stay_where_they_are() -> None:
    lines = merged({"a": ["2026-01-01T00:00:01Z x", "  more"], "b": ["2026-01-01T00:00:01.500Z y"]})
    assert [one.text for one in lines] == ["2026-01-01T00:00:01Z x", "  more", "2026-01-01T00:00:01.500Z y"]


def test_following_shows_what_is_written_later_and_who_is_born_later(folder: StateFolder) -> None:
    lock = folder.take_lock()  # as a supervisor would: the job runs as long as this is held
    assert lock is not None
    path = os.pathsep.join([str(ROOT / "operator"), str(ROOT / "runtime")])
    command = [sys.executable, "-m", "deepseek_operator.cli.main", "logs", "digits", "-f"]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = b""

        def until(text: bytes) -> None:
            nonlocal said
            assert process.stdout is not None
            end = time.monotonic() + 30
            while text not in said:
                assert select.select([process.stdout], [], [], end - time.monotonic())[0], said
                more = os.read(process.stdout.fileno(), 65536)
                assert more, said
                said += more

        try:
            until(b"INFO trains\n")
            (folder.logs / "worker-1-0.log").write_text(line(20, "a new one"))
            until(b"worker-1-0 | 2026-11-24T15:04:20.000Z INFO a new one\n")
            with (folder.logs / "worker-0-1.log").open("a") as log:
                log.write(line(21, "goes on")[:10])
                log.flush()
                log.write(line(21, "goes on")[10:])
            until(b"worker-0-1 | 2026-11-24T15:04:21.000Z INFO goes on\n")
            (folder.logs / "worker-0-2.log").write_text(line(22, "replacement"))
            until(b"worker-0-2 | 2026-11-24T15:04:22.000Z INFO replacement\n")
            folder.let_go(lock)
            assert process.wait(30) == 0
        finally:
            process.kill()
