"""What a test cluster needs, built beside the tests: of CPU time that nobody else wants, until somebody waits."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

PATIENCE = 4500.0
"""Seconds, from when somebody waits. From nothing it takes a quarter of an hour on two idle cores."""


class PreparationFailed(Exception):
    """It could not be built. The message says which log tells why."""


class Preparation:
    """`python -m testcluster prepare`, in a session of its own, so that all who work for it are found."""

    def __init__(self, log: Path, wanted: bool) -> None:
        self.log = log
        self.wanted = wanted
        self.waited = 0.0

    def __enter__(self) -> "Preparation":
        if self.wanted:
            with self.log.open("wb") as file:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "testcluster", "prepare"],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            # From here, not by `nice`: that could come after somebody waits, and outlast it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.setpriority(os.PRIO_PROCESS, self.process.pid, 19)
        return self

    def wait(self) -> None:
        """Returns when all is there. Raises PreparationFailed."""
        begin = time.monotonic()
        for group in self._groups():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.setpriority(os.PRIO_PGRP, group, 0)
        if self.process.poll() is None:
            print(f"cluster: waiting for what is being built: {os.path.relpath(self.log)}", flush=True)
        try:
            code: int | str = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            code = f"not done after {PATIENCE:.0f} s"
        self.waited = time.monotonic() - begin
        if code != 0:
            print("\n".join(self.log.read_text(errors="replace").splitlines()[-40:]), file=sys.stderr)
            raise PreparationFailed(f"cluster: what it needs could not be built ({code}): see {self.log}")

    def told(self) -> str:
        """What was built, with its seconds."""
        said = [line.removeprefix("cluster: ") for line in self.log.read_text(errors="replace").splitlines()]
        return "; ".join(line for line in said if line.startswith("built ")) + f"; waited {self.waited:.0f} s for it"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.wanted or self.process.poll() is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            for group in self._groups():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)

    def _groups(self) -> set[int]:
        """The process groups of its session."""
        found = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    if os.getsid(int(entry.name)) == self.process.pid:
                        found.add(os.getpgid(int(entry.name)))
        return found
