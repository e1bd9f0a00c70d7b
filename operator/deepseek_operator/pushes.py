"""The pushes of a job, as the chief writes them down: read from metrics.jsonl as it grows, for curves and rates."""

import json
import os
from collections import deque
from pathlib import Path

from deepseek_operator.view.snapshot import Snapshot

TAIL = 4 * 2**20
"""Bytes that are read when a view begins late."""
WINDOW = 30.0
"""Seconds over which a worker's rate is taken."""


class Pushes:
    def __init__(self, file: Path) -> None:
        self.losses: list[float] = []
        self._file = file
        self._at: int | None = None
        self._rest = b""
        self._recent: deque[tuple[float, str, int]] = deque(maxlen=10_000)

    def read(self) -> None:
        """What was written since the last time. A file that is not there yet is an empty one."""
        try:
            with self._file.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                if self._at is None or end < self._at:
                    self.losses, self._rest, self._at = [], b"", max(0, end - TAIL)
                file.seek(self._at)
                self._take(file.read(end - self._at))
                self._at = end
        except OSError:
            return

    def saw(self, shot: Snapshot) -> None:
        """The file tells more than a status does."""

    def rates(self, now: float) -> dict[str, float]:
        """Samples a second of each worker (role-index-incarnation) that pushed twice in the window before `now`.

        Counted from its first push in the window on, whose own samples were trained before.
        """
        first: dict[str, float] = {}
        samples: dict[str, int] = {}
        for time, worker, count in self._recent:
            if now - WINDOW <= time <= now:
                if worker in first:
                    samples[worker] = samples.get(worker, 0) + count
                else:
                    first[worker] = time
        return {worker: count / max(now - first[worker], 0.1) for worker, count in samples.items()}

    def _take(self, more: bytes) -> None:
        lines = (self._rest + more).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the first one may be cut
            if not isinstance(row, dict) or "event" in row:
                continue
            loss, worker = row.get("loss"), row.get("worker")
            if isinstance(loss, float):
                self.losses.append(loss)
            if isinstance(worker, str):
                self._recent.append((float(row.get("time", 0.0)), worker, int(row.get("samples", 0))))
