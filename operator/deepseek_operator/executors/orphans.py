"""Processes that members started outside of their group, as `Popen(start_new_session=True)` does: ended all the same.

Two things hold them. Their environment, inherited from a member, names its exit file: they end with that member. Who
was given another environment ends with the job: the supervisor is the subreaper (prctl(2)) of all below it, so a
process whose parent has ended becomes its child. After a supervisor that was killed only the first way is left.
"""

import contextlib
import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from deepseek_operator.executors.processes import Process, start_ticks

logger = logging.getLogger(__name__)

ENDS_WITHIN = 5.0
OLD = 10.0
"""Seconds after which one that has ended, and that nobody has waited for, is an orphan."""
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """From here on orphans below this process become its children. Without that only a warning: it needs Linux 3.4."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        why = os.strerror(ctypes.get_errno())
        logger.warning("processes that leave their member's session are not ended with the job: %s", why)


def end_heirs(variable: str, of: Callable[[Path], bool]) -> list[int]:
    """Kills whoever has `variable` in its environment naming a file that `of` accepts; the pids."""
    return _end(lambda: list(_heirs(variable, of)))


def end_descendants() -> list[int]:
    """Kills everything below this process, after `adopt_orphans` also what left its session; the pids."""
    return _end(lambda: [(pid, start_ticks(pid)) for pid, state in _children() if state not in "ZX"])


class Reaper:
    """Waits for orphans that ended by themselves. Known by their age: children of our own are reaped at once."""

    def __init__(self) -> None:
        self._seen: dict[int, float] = {}
        self._due = 0.0

    def tend(self, now: float) -> None:
        """now: monotonic seconds. Looks at most every `OLD` seconds."""
        if now < self._due:
            return
        self._due = now + OLD
        ended = {pid for pid, state in _children() if state == "Z"}
        self._seen = {pid: self._seen.get(pid, now) for pid in ended}
        for pid, since in self._seen.items():
            if now - since >= OLD:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def _end(look: Callable[[], list[tuple[int, int | None]]]) -> list[int]:
    """Kills what is found until nothing is: whoever is killed may have started another just before."""
    killed: list[int] = []
    end = time.monotonic() + ENDS_WITHIN
    while found := look():
        for pid, started in found:
            process = Process.adopt(pid, started) if started is not None else None
            if process is None:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(process.handle, signal.SIGKILL)
            if process.wait(max(0.0, end - time.monotonic())):
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                killed.append(pid)
            process.close()
        if time.monotonic() >= end:
            logger.error("these cannot be ended: %s", ", ".join(str(pid) for pid, _ in found))
            break
    return killed


def _heirs(variable: str, of: Callable[[Path], bool]) -> Iterator[tuple[int, int | None]]:
    want = variable.encode() + b"="
    for pid in _pids():
        started = start_ticks(pid)  # before: of another process of this number it would not be the start
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        for item in environment.split(b"\0"):
            if item.startswith(want) and of(Path(os.fsdecode(item[len(want) :]))):
                yield pid, started


def _children() -> Iterator[tuple[int, str]]:
    """(pid, state) of this process's children."""
    me = os.getpid()
    for pid in _pids():
        with contextlib.suppress(OSError):
            state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == me:
                yield pid, state


def _pids() -> list[int]:
    me = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != me]
