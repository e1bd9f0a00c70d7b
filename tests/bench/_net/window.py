"""What a job did between two moments, by its chief's journal."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from bench._done import PATIENCE
from builders.real_jobs import told
from deepseek_operator.state_folder import StateFolder

EVERY: Final = 0.2
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Pace:
    """rate: batches a second of all workers. utilisation: part of the workers' time in which they trained: the rest is
    leases, pulls, packing and pushes."""

    rate: float
    utilisation: float


def pace(rows: Iterable[dict[str, Any]], since: float, until: float) -> Pace:
    """Of each worker from the first range that it ended in this time to the last one. Raises ValueError when a worker
    ended fewer than two.

    rows: of ranges, in metrics.jsonl; times: seconds since the Unix epoch.
    """
    chains: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if since <= row["time"] < until:
            chains[row["worker"]].append(row)
    rate = training = spent = 0.0
    for worker, chain in chains.items():
        chain.sort(key=lambda row: float(row["time"]))
        if len(chain) < 2:
            raise ValueError(f"{worker} ended one range in {until - since:g} s: two are needed, look at it for longer")
        seconds = chain[-1]["time"] - chain[0]["time"]
        rate += sum(len(row["batch_losses"]) for row in chain[1:]) / seconds
        training += sum(row["seconds"] for row in chain[1:])
        spent += seconds
    if not chains:
        raise ValueError(f"no range ended in {until - since:g} s: look at it for longer")
    return Pace(rate, training / spent)


class Journal:
    """A job's metrics.jsonl as it grows: what is new is read, and no more, for whoever looks often must not take the
    processors from what is measured."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder, self._read = folder, 0
        self.rows: list[dict[str, Any]] = []

    def look(self) -> None:
        if not self._folder.metrics_file.exists():
            return
        with self._folder.metrics_file.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        self.rows += [row for row in map(json.loads, whole.splitlines()) if "g" in row]

    def batches(self) -> int:
        """Of all ranges done."""
        return sum(len(row["batch_losses"]) for row in self.rows)

    def until(self, true: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Looks until it is true. Raises TimeoutError with what a person would look at, also when the job has ended."""
        end = time.monotonic() + patience
        while True:
            alive = self._folder.alive()
            self.look()
            if true():
                return
            if not alive or time.monotonic() > end:
                raise TimeoutError(f"{self._folder.name}: not within {patience:g} s: {told(self._folder)}")
            time.sleep(EVERY)  # a file: there is nothing to wait on
