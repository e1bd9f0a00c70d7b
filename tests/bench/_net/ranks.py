"""The rivals' processes, one in the namespace of each worker."""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from bench._net.network import address, enter
from deepseek_operator.executors.processes import python_environment

LINE: Final = 1 << 20


class Ranks:
    """`with` them, they have found each other by the first `run`; all processes end with the block."""

    def __init__(
        self,
        folder: Path,
        world: int,
        task: str,
        args: dict[str, Any],
        *,
        waits: list[float] | None = None,
        windows: int = 1,
        powersgd: bool = False,
    ) -> None:
        """folder: for their logs. The rest is as ddp.py has it; waits: one a rank."""
        self._log = folder / f"ranks-{task}{'-powersgd' * powersgd}.log"
        self._world = world
        self._shared: dict[str, Any] = {
            "world": world, "master": address("worker-0"), "task": task, "args": args, "windows": windows,
            "powersgd": powersgd,
        }  # fmt: skip
        self._waits = waits
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Ranks":
        environment = {**python_environment(), "GLOO_SOCKET_IFNAME": "eth0", "OMP_NUM_THREADS": "1"}
        with self._log.open("ab") as log:
            for rank in range(self._world):
                wait = None if self._waits is None else self._waits[rank]
                given = {**self._shared, "rank": rank, "wait": wait}
                command = [*enter(f"worker-{rank}"), sys.executable, "-P", "-m", "bench._net.ddp", json.dumps(given)]
                self._processes.append(
                    subprocess.Popen(
                        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment,
                        start_new_session=True,
                    )
                )  # fmt: skip
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.communicate(timeout=20.0)

    def run(self, steps: int, patience: float = 300.0) -> list[float]:
        """Seconds of each of so many steps of all ranks, by rank 0. Raises RuntimeError with the end of their log."""
        first = self._processes[0]
        assert first.stdin is not None and first.stdout is not None
        first.stdin.write(f"{steps}\n".encode())
        first.stdin.flush()
        end, said = time.monotonic() + patience, b""
        while not said.endswith(b"\n"):
            ready = select.select([first.stdout], [], [], max(0.0, end - time.monotonic()))[0]
            piece = os.read(first.stdout.fileno(), LINE) if ready else b""
            if not piece:
                raise RuntimeError(f"{self._log.stem}: {self._log.read_text(errors='replace')[-2000:]}")
            said += piece
        return [float(one) for one in json.loads(said)["seconds"]]
