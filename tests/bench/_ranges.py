"""When each range of a job in a test cluster was done: read from the chief's metrics.jsonl on the nodes' disks.

A pod's folder goes with it, so what is written is followed from the beginning, whoever is chief.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from testcluster.cluster import Cluster

T = TypeVar("T")

EVERY = 0.2
"""Seconds between two looks. Times are those that the chief wrote."""
PATTERN = "var/lib/kubelet/pods/*/volumes/kubernetes.io~empty-dir/dsj-data/metrics.jsonl"


@dataclass(frozen=True, slots=True)
class Range:
    """time: seconds since the Unix epoch; step: done by then; worker: `worker-<index>-<incarnation>`."""

    time: float
    term: int
    step: int
    worker: str


@dataclass(frozen=True, slots=True)
class Opened:
    time: float
    term: int
    restored_step: int | None


class Ranges:
    """Of the one job that runs in this cluster from `with` on."""

    def __init__(self, cluster: Cluster) -> None:
        self._disks = [cluster.layout.node_data(node) for node in cluster.nodes]
        self._read: dict[Path, int] = {path: path.stat().st_size for path in self._files()}
        self._lock = threading.Lock()
        self._ranges: list[Range] = []
        self._opened: list[Opened] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Ranges":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(10.0)

    def done(self) -> list[Range]:
        with self._lock:
            return sorted(self._ranges, key=lambda one: one.time)

    def opened(self, since: float) -> Opened | None:
        """The newest term that opened since then."""
        with self._lock:
            return next((one for one in reversed(self._opened) if one.time > since), None)

    def first(self, since: float, true: Callable[[Range], bool]) -> Range | None:
        return next((one for one in self.done() if one.time > since and true(one)), None)

    def longest_gap(self, begin: float, end: float) -> float:
        """Seconds between two ranges in a row: the second was done after `begin`, the first before `end`."""
        times = [one.time for one in self.done()]
        return max((b - a for a, b in pairwise(times) if b > begin and a < end), default=0.0)

    def rate(self, seconds: float) -> float:
        """Steps a second, over the newest so many seconds."""
        newest = self.done()[-1]
        earlier = next(one for one in self.done() if one.time >= newest.time - seconds)
        return (newest.step - earlier.step) / max(newest.time - earlier.time, 1e-3)

    def _files(self) -> list[Path]:
        return [path for disk in self._disks for path in disk.glob(PATTERN)]

    def _follow(self) -> None:
        while not self._stop.wait(EVERY):
            for path in self._files():
                try:
                    self._take(path)
                except FileNotFoundError:
                    continue

    def _take(self, path: Path) -> None:
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read[path] = self._read.get(path, 0) + len(whole)
        for line in whole.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            with self._lock:
                if "g" in row:
                    self._ranges.append(Range(row["time"], row["term"], row["step"], row["worker"]))
                elif row.get("event") == "TermOpened":
                    self._opened.append(Opened(row["time"], row["term"], row["restored_step"]))


def wait_for(found: Callable[[], T | None], what: str, patience: float) -> T:
    """Raises TimeoutError."""
    end = time.monotonic() + patience
    while True:
        value = found()
        if value is not None:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"not within {patience:g} s: {what}")
        time.sleep(EVERY)
