"""One program of the cluster: started in a group of processes, in a node's namespaces, with a log of its own."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from testcluster import cgroups

_children: list["subprocess.Popen[bytes]"] = []
"""What this very process started: it must be waited for, or its group cannot be removed."""


class NotReady(Exception):
    """A program of the cluster ended or did not become ready. The message has the end of its log."""


class Daemon:
    """A program that was started: it outlives us, and is found again by its group alone."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def await_ready(self, ready: Callable[[], bool], timeout: float = 60.0) -> None:
        """Returns when `ready` says so. Raises NotReady when the program ended, or after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not ready():
            code = self._process.poll()
            if code is not None:
                raise NotReady(f"{self.name} ended with exit code {code}: {self._tail()}")
            if time.monotonic() > deadline:
                raise NotReady(f"{self.name} was not ready within {timeout:g} s: {self._tail()}")
            time.sleep(0.1)

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()[-8:]
        return f"the end of {self.log}:\n" + "\n".join(lines)


def start(name: str, command: Sequence[str | Path], *, group: str, log: Path, within: Sequence[str] = ()) -> Daemon:
    """Starts `command` in `group`; `within` is the nsenter (or unshare) command that leads into namespaces."""
    log.parent.mkdir(parents=True, exist_ok=True)
    procs = cgroups.make(group)
    enter = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(procs)]
    with log.open("ab") as file:
        process = subprocess.Popen(
            [*enter, *within, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
        )
    _children.append(process)
    return Daemon(name, process, log)


def end(group: str, timeout: float = 30.0) -> None:
    """SIGKILL to all in `group` until nobody is left, then removes it. Raises TimeoutError."""
    deadline = time.monotonic() + timeout
    while (left := cgroups.signal_all(group, signal.SIGKILL)) or not cgroups.remove(group):
        _children[:] = [child for child in _children if child.poll() is None]
        if time.monotonic() > deadline:
            raise TimeoutError(f"{group} could not be ended within {timeout:g} s; processes left: {sorted(left)}")
        time.sleep(0.02)
