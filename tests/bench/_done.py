"""When each range of a job on this machine was done: from the chief's metrics.jsonl, whoever was the chief."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from builders.real_jobs import told, until
from deepseek_operator.api.status import JobStatus
from deepseek_operator.state_folder import StateFolder
from deepseek_runtime.audit import Audit, audit
from deepseek_runtime.contract.config import load_config

PATIENCE = 300.0

SLOW_TASK = """\
import os
import time
from deepseek_runtime.tasks import tally

class Tally(tally.Tally):
    def loss(self, model, batch):
        if not os.path.exists(os.environ.get("HURRY", "")):
            time.sleep(0.02)
        return super().loss(model, batch)
"""
"""A batch waits 20 ms instead of computing, so that rates are the machinery's, until `Jobs.hurry`."""


@dataclass(frozen=True, slots=True)
class Done:
    """time: seconds since the Unix epoch, as the chief wrote it; step: done by then."""

    time: float
    term: int
    step: int


def ranges(folder: StateFolder) -> list[Done]:
    """In the order of time."""
    found: list[Done] = []
    with folder.metrics_file.open(encoding="utf-8") as file:
        for line in file:
            if not line.endswith("\n"):
                break
            row = json.loads(line)
            if "g" in row:
                found.append(Done(float(row["time"]), int(row["term"]), int(row["step"])))
    return sorted(found, key=lambda one: one.time)


def next_range(folder: StateFolder, after: float, term: int) -> Done:
    """The first one done after `after`, in `term` or a later one. Waits for it; fails when it does not come."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = next((one for one in ranges(folder) if one.time > after and one.term >= term), None)
        if found is not None:
            return found
        assert folder.alive() and time.monotonic() < deadline, told(folder)
        time.sleep(0.1)  # a file: there is nothing to wait on


def longest_pause(folder: StateFolder, since: float, until: float) -> float:
    """Seconds between two ranges done, the longest within these times."""
    times = [one.time for one in ranges(folder) if since <= one.time <= until]
    return max((later - earlier for earlier, later in pairwise(times)), default=until - since)


def event_time(status: JobStatus, reason: str, text: str, since: float) -> float:
    """When the supervisor said so first, since then; seconds since the Unix epoch."""
    times = [
        datetime.fromisoformat(event.time).timestamp()
        for event in status.events
        if event.reason == reason and text in event.message
    ]
    return min(at for at in times if at >= since)


def audited(folder: StateFolder) -> Audit:
    """Counted from outside."""
    (config,) = folder.path.glob("config-*.json")
    return audit(load_config(config))


def settled(folder: StateFolder, true: Callable[[JobStatus], bool], seconds: float) -> None:
    """Training has gone on for so long since `true`."""
    until(folder, true, PATIENCE)
    time.sleep(seconds)  # the time that is measured
