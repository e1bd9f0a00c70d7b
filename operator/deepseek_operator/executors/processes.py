"""Processes in sessions of their own: started, adopted by (pid, start time), watched by pidfd, ended with their group.

A pidfd names one process for good, so nothing here can hit a stranger that got the same number.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepseek_operator import api
from deepseek_runtime import contract


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended. Both None: it was not our child, so nobody told us."""

    code: int | None = None
    signal: int | None = None


class Process:
    """A process that leads its own session, and so its own group."""

    def __init__(self, pid: int, started: int, handle: int) -> None:
        self.pid = pid
        self.started = started
        """Clock ticks since boot: with the pid, never used twice."""
        self.handle = handle
        """Its pidfd: readable when it has ended."""

    @classmethod
    def spawn(cls, command: Sequence[str], environment: Mapping[str, str], log: Path) -> "Process":
        """Starts it in this process's folder; what it prints is appended to `log`. Raises OSError."""
        pid = os.posix_spawn(
            command[0],
            list(command),
            dict(environment),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM],
        )
        # It is our child, not waited for yet: its number cannot be another's.
        return cls(pid, _stat(pid)[1], os.pidfd_open(pid))

    @classmethod
    def adopt(cls, pid: int, started: int) -> "Process | None":
        """None: that very process does not run any more."""
        try:
            handle = os.pidfd_open(pid)
        except (ProcessLookupError, ValueError, OverflowError):
            return None
        # Compared after the handle is held, so what was compared is what is held.
        if start_ticks(pid) != started:
            os.close(handle)
            return None
        return cls(pid, started, handle)

    def alive(self) -> bool:
        return not self.wait(0.0)

    def wait(self, timeout: float) -> bool:
        """Whether it has ended within `timeout` seconds."""
        return bool(select.select([self.handle], [], [], timeout)[0])

    def ask_to_leave(self) -> None:
        """SIGTERM to the process alone: what it has started, it ends itself."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to it and everything in its group."""
        self._send(signal.SIGKILL)
        self._kill_group()

    def reap(self) -> Ended:
        """Of one that has ended: ends what is left of its group, then says how it ended."""
        self._kill_group()
        try:
            found = os.waitid(os.P_PIDFD, self.handle, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return Ended()
        if found is None:
            return Ended()
        return Ended(code=found.si_status) if found.si_code == os.CLD_EXITED else Ended(signal=found.si_status)

    def close(self) -> None:
        os.close(self.handle)

    def _send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, number)

    def _kill_group(self) -> None:
        # The number of a group is not given away while anybody is in it, nor while its leader is not waited for.
        # Once the leader's number is another process's, that one leads or is in another group.
        if start_ticks(self.pid) in (None, self.started):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None: no such process, or one that has ended."""
    try:
        state, started = _stat(pid)
    except OSError:
        return None
    return None if state in ("Z", "X") else started


def _stat(pid: int) -> tuple[str, int]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[19])


def leaders_with(variable: str, folder: Path) -> Iterator[tuple[int, int, Path]]:
    """(pid, start time, value) of session leaders whose environment has `variable` naming a file in `folder`."""
    want = variable + "="
    for pid, started, environment in _leaders("environ"):
        for item in environment:
            value = Path(item.removeprefix(want))
            if item.startswith(want) and value.parent == folder:
                yield pid, started, value


def with_argument(prefix: str) -> Iterator[tuple[int, int]]:
    """(pid, start time) of session leaders with an argument that begins so."""
    for pid, started, arguments in _leaders("cmdline"):
        if any(argument.startswith(prefix) for argument in arguments):
            yield pid, started


def _leaders(file: str) -> Iterator[tuple[int, int, list[str]]]:
    """(pid, start time, items of /proc/<pid>/<file>) of our user's session leaders.

    Another user may name our files in an argument as he likes: his process is none of ours, and often not ours to kill.
    """
    me = os.geteuid()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        pid = int(entry.name)
        try:
            if entry.stat().st_uid != me or os.getsid(pid) != pid:
                continue
            items = os.fsdecode(Path(f"/proc/{pid}/{file}").read_bytes()).split("\0")
        except OSError:
            continue
        started = start_ticks(pid)
        if started is not None:
            yield pid, started, items


def module_command(module: str) -> tuple[str, ...]:
    """How a module of ours is run; -P: the folder it happens to run in is not searched for modules."""
    return (sys.executable, "-P", "-m", module)


def python_environment() -> dict[str, str]:
    """This process's environment, with our packages found from any folder.

    Members may write bytecode, whatever the person's shell says: without it each start of a worker compiles torch's
    modules anew, two seconds that every recovery would wait for.
    """
    roots = [str(Path(package.__path__[0]).absolute().parents[1]) for package in (api, contract)]
    given = [os.path.abspath(part) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "PYTHONPATH": os.pathsep.join(dict.fromkeys([*roots, *given])), "PYTHONUNBUFFERED": "1"}


class Watch:
    """One thread that tells when processes end, and when a time has come."""

    def __init__(self, ended: Callable[[int], None]) -> None:
        """`ended(handle)` is called once for each handle, from this thread; the handle stays the caller's."""
        self._ended = ended
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._wake, select.EPOLLIN)
        self._lock = threading.Lock()
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="processes", daemon=True)
        self._thread.start()

    def add(self, handle: int) -> None:
        self._poll.register(handle, select.EPOLLIN | select.EPOLLONESHOT)

    def forget(self, handle: int) -> None:
        """Before the handle is closed."""
        with contextlib.suppress(FileNotFoundError):
            self._poll.unregister(handle)

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        with self._lock:
            self._timers.append((time.monotonic() + seconds, call))
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        self._closing = True
        os.eventfd_write(self._wake, 1)
        self._thread.join(5.0)
        self._poll.close()
        os.close(self._wake)

    def _run(self) -> None:
        while not self._closing:
            with self._lock:
                due = min((at for at, _ in self._timers), default=None)
            timeout = None if due is None else max(0.0, due - time.monotonic())
            for handle, _ in self._poll.poll(timeout):
                if handle == self._wake:
                    with contextlib.suppress(BlockingIOError):
                        os.eventfd_read(self._wake)
                else:
                    self._ended(handle)
            now = time.monotonic()
            with self._lock:
                ripe = [call for at, call in self._timers if at <= now]
                self._timers = [(at, call) for at, call in self._timers if at > now]
            for call in ripe:
                call()
