"""`dsj run` and what belongs to it, with real processes, a real etcd and members that train nothing."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from builders import dsj_with_fakes
from deepseek_operator.api.status import JobStatus
from deepseek_operator.state_folder import StateFolder, default_state_root

ROOT = Path(__file__).parents[3]
JOB = """\
apiVersion: deepseek.dev/v1alpha1
kind: DeepseekJob
metadata: {{name: fake}}
spec:
  servers: {{replicas: 1}}
  workers: {{replicas: 2, max: 3}}
  training:
    task: deepseek_runtime.tasks.digits:Digits
    steps: 3
    args: {args}
"""
HOLD = "{hold: true}"
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A command on a terminal of its own, as a person has it."""

    def __init__(self, process: "subprocess.Popen[bytes]", handle: int) -> None:
        self.process = process
        self.handle = handle
        self.said = ""

    def until(self, text: str) -> None:
        """Waits until it has shown `text`, wherever on the screen."""
        end = time.monotonic() + 60
        while text not in ESCAPE.sub("", self.said):
            assert self._read(end), f"ended without {text!r}: {self.said[-3000:]}"

    def press(self, keys: str) -> None:
        os.write(self.handle, keys.encode())

    def ended(self) -> int:
        end = time.monotonic() + 60
        while self._read(end):
            pass
        return self.process.wait(10)

    def _read(self, end: float) -> bool:
        assert select.select([self.handle], [], [], max(0.0, end - time.monotonic()))[0], f"hangs: {self.said[-3000:]}"
        try:
            more = os.read(self.handle, 65536)
        except OSError:  # EIO: the other end is closed
            return False
        self.said += more.decode(errors="replace")
        return bool(more)


class Shell:
    """Calls `dsj` in a folder with one manifest; the job is called `fake`."""

    def __init__(self, folder: Path) -> None:
        self.job = folder / "job.yaml"
        self.state = StateFolder(default_state_root() / "fake")
        self.terminals: list[Terminal] = []

    def manifest(self, args: str = "{}") -> str:
        self.job.write_text(JOB.format(args=args))
        return str(self.job)

    def command(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        path = os.pathsep.join(str(ROOT / part) for part in ("operator", "runtime", "tests"))
        return [sys.executable, str(dsj_with_fakes.__file__), *arguments], {**os.environ, "PYTHONPATH": path}

    def call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command, environment = self.command(*arguments)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90)

    def terminal(self, *arguments: str, **environment: str) -> Terminal:
        command, inherited = self.command(*arguments)
        ours, theirs = pty.openpty()
        settings: Mapping[str, str] = {
            **inherited, "TERM": "xterm", "DSJ_TEST_TERMINAL": "1", "COLUMNS": "100", "LINES": "40"
        } | environment  # fmt: skip
        process = subprocess.Popen(
            command, env=settings, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self.terminals.append(Terminal(process, ours))
        return self.terminals[-1]

    def until(self, true: Callable[[JobStatus], bool]) -> JobStatus:
        end = time.monotonic() + 60
        while not true(status := self.state.status()):
            assert time.monotonic() < end, status
            time.sleep(0.05)
        return status

    def nothing_left(self) -> bool:
        return not self.state.alive() and self.state.left_behind() == []


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    one = Shell(tmp_path)
    yield one
    for terminal in one.terminals:
        terminal.process.kill()
        terminal.process.wait(10)
        os.close(terminal.handle)
    supervisor = one.state.supervisor()
    if supervisor is not None:
        supervisor.kill()
        supervisor.wait(10)
        supervisor.close()
    with contextlib.suppress(FileNotFoundError):
        one.state.end_left_behind()


def training(status: JobStatus) -> bool:
    return status.phase == "Running" and all(m.trained for m in status.members if m.role == "worker")


def test_in_a_pipe_plain_lines_and_a_summary(shell: Shell) -> None:
    done = shell.call("run", shell.manifest())
    assert done.returncode == 0, done.stderr
    assert not {"\r", "\x1b"} & set(done.stdout)
    lines = done.stdout.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line) for line in lines if not re.match("fake|  ", line))
    assert sum(" event TermOpened" in line or " event TermRaised" in line for line in lines) == 1
    assert any(re.match(r"fake  ✔ Succeeded after \d+:\d\d, exit code 0", line) for line in lines)
    assert "next: dsj export fake" in done.stderr
    assert shell.nothing_left()
    again = shell.call("run", str(shell.job), "-o", "json", "--replace")
    said = [json.loads(line) for line in again.stdout.splitlines()]
    assert (again.returncode, again.stderr) == (0, "")
    assert {one["type"] for one in said} == {"progress", "event", "end"}
    assert (said[-1]["type"], said[-1]["exitCode"], said[-1]["phase"]) == ("end", 0, "Succeeded")


def test_a_users_mistake_is_told_with_its_exit_code(shell: Shell) -> None:
    done = shell.call(
        "run", shell.manifest('{hold: true, exits: {worker/1: [65, "train.py line 3: no such column"]}}'), "--no-view"
    )
    assert done.returncode == 65
    assert "fake has failed: worker 1: train.py line 3: no such column" in done.stdout
    assert "dsj logs fake --role worker --index 1" in done.stdout
    assert shell.nothing_left()


def test_ctrl_c_drains_and_leaves_nothing(shell: Shell) -> None:
    screen = shell.terminal("run", shell.manifest(HOLD))
    screen.until("● Running")
    screen.until("worker-1-0")
    screen.press("\x03")
    screen.until("stopping: workers push what they hold")
    assert screen.ended() == 130
    assert "‖ Suspended" in screen.said
    assert "dsj run --resume fake" in screen.said
    assert shell.nothing_left()
    assert shell.state.status().phase == "Suspended"


def test_ctrl_c_twice_kills(shell: Shell) -> None:
    screen = shell.terminal("run", shell.manifest(HOLD))
    screen.until("● Running")
    chief = next(m for m in shell.until(training).members if m.role == "server")
    assert chief.pid is not None
    os.kill(chief.pid, signal.SIGSTOP)  # so that no drain can end
    screen.press("\x03")
    screen.until("Ctrl-C again kills at once")
    assert screen.process.poll() is None
    screen.press("\x03")
    assert screen.ended() == 130
    assert "killing all members" in screen.said
    assert shell.state.control().kill
    assert shell.nothing_left()


def test_the_view_can_be_left_and_the_job_goes_on(shell: Shell) -> None:
    """q, a closed terminal, Ctrl-C in `watch`: none of them is the job's business. SIGTERM to `dsj run` drains."""
    screen = shell.terminal("run", shell.manifest(HOLD))
    screen.until("● Running")
    screen.press("q")
    assert screen.ended() == 0
    assert "fake runs on" in screen.said
    watch = shell.terminal("watch", "fake")
    watch.until("● Running")
    watch.press("\x03")
    assert watch.ended() == 0
    hung_up = shell.terminal("watch", "fake", NO_COLOR="1")
    hung_up.until("● Running")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", hung_up.said), "NO_COLOR is heeded"
    assert re.search(r"\x1b\[[0-9;]*3[0-9]m", watch.said), "and colours are there without it"
    os.kill(hung_up.process.pid, signal.SIGHUP)
    assert hung_up.ended() == -signal.SIGHUP
    dumb = shell.terminal("watch", "fake", TERM="dumb")
    dumb.until("workers 2/2 servers 1/1")
    dumb.press("\x03")
    assert dumb.ended() == 0
    assert "\x1b" not in dumb.said
    assert "\r" not in dumb.said.replace("\r\n", "\n")
    assert shell.state.alive()
    refused = shell.call("run", str(shell.job))
    assert (refused.returncode, refused.stdout) == (64, "")
    assert "hint: `dsj watch fake` shows it" in refused.stderr
    assert shell.call("delete", "fake").returncode == 1
    assert shell.call("scale", "fake", "--workers", "4").returncode == 64
    assert shell.call("scale", "fake", "--workers", "3").stdout == "fake: 2 -> 3 workers\n"
    shell.until(lambda status: status.workers.ready == 3)
    assert shell.call("wait", "fake", "--for", "running", "--timeout", "60").returncode == 0
    assert shell.call("wait", "fake", "--timeout", "0.2").returncode == 124
    assert shell.call("stop", "fake", "-o", "json").returncode == 0
    assert shell.nothing_left()


def test_sigterm_drains_a_resumed_job(shell: Shell) -> None:
    started = json.loads(shell.call("run", shell.manifest(HOLD), "--detach", "-o", "json").stdout)
    assert started["folder"] == str(shell.state.path)
    assert shell.call("stop", "fake", "--kill").returncode == 0
    assert shell.nothing_left()
    command, environment = shell.command("run", "--resume", "fake", "--no-view")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        shell.until(lambda status: training(status) and shell.state.alive())
        process.terminate()
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "‖ Suspended" in said
    assert shell.nothing_left()


def test_a_killed_supervisor_is_noticed(shell: Shell) -> None:
    screen = shell.terminal("run", shell.manifest(HOLD))
    screen.until("● Running")
    shell.until(training)
    supervisor = shell.state.supervisor()
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    supervisor.close()
    assert screen.ended() == 1
    assert "the supervisor of fake is gone, its members run on" in screen.said
    assert "dsj run --resume fake" in screen.said
    assert shell.call("why", "fake").stdout.startswith("the supervisor of fake is gone")
    again = shell.terminal("run", "--resume", "fake")
    again.until("● Running")
    (shell.state.path / "release").touch()
    assert again.ended() == 0
    assert "✔ Succeeded" in again.said
    assert shell.nothing_left()
    assert shell.call("delete", "fake").stdout == "fake is deleted\n"


def test_ctrl_c_while_it_starts(shell: Shell) -> None:
    """The start is carried to its end, then the job is stopped: nothing is left halfway."""
    screen = shell.terminal("run", shell.manifest(HOLD))
    screen.until("fake: starting")
    screen.press("\x03")
    assert screen.ended() == 130
    assert shell.nothing_left()


def test_two_that_replace_a_job_at_once(shell: Shell) -> None:
    """Both end the job that runs, one starts its own; the other leaves it alone, or replaces it when it has begun."""
    assert shell.call("run", shell.manifest(HOLD), "--detach").returncode == 0
    old = shell.until(training).uid
    command, environment = shell.command("run", shell.manifest(), "--replace", "--no-view", "-o", "json")
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [(*one.communicate(timeout=90), one.returncode) for one in both]
    assert all("did not end" not in errors for _, errors, _ in said)
    assert min(code for *_, code in said) == 0, said
    for out, errors, code in said:
        assert out or re.search(r"another command is just starting|is running", errors), (code, errors)
    status = shell.state.status()
    assert (status.phase, status.uid == old) == ("Succeeded", False)
    assert shell.nothing_left()
