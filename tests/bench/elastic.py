"""`make bench-elastic`: workers 2 -> 6 -> 2 and servers 2 -> 3 -> 1 in one run of real processes, while all train.

`tally`: a batch waits 20 ms instead of computing. Each change is asked for as `dsj scale` does, the next one when the
members are there and have trained for a while. The longest pause is the longest time between two ranges done, by the
chief's own journal, from the first change to the last. The job then ends by itself: its weights count how often each
sample was trained, and so does the audit, from the servers' journals.

A second run, with `servers.backup`, moves spans with their backups: servers 2 -> 3 -> 2. QUICK=1: shorter.
"""

import os
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from bench._done import PATIENCE, SLOW_TASK, audited, longest_pause, ranges
from bench._table import Row, machine, publish
from builders.real_jobs import TALLY, Jobs, ended, told, until
from deepseek_operator.api.status import JobStatus
from deepseek_operator.state_folder import StateFolder
from deepseek_runtime.contract.config import Timing

TIMING = Timing(progress=0.5)
"""As `dsj run` has it."""
GOAL = 2.0
EPOCHS, SAMPLES = 400, 1024
PLAIN = (("workers", 6), ("servers", 3), ("workers", 2), ("servers", 1))
BACKED_UP = (("servers", 3), ("workers", 4), ("servers", 2), ("workers", 2))


def main() -> None:
    calm = 2.0 if os.environ.get("QUICK", "") not in ("", "0") else 8.0
    where = machine()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="dsj-elastic-") as root:
        jobs = Jobs(Path(root))
        os.environ["HURRY"] = str(jobs.hurrying)
        try:
            rows += changed(jobs, "plain", PLAIN, calm)
            jobs.hurrying.unlink()
            rows += changed(jobs, "backup", BACKED_UP, calm)
        finally:
            jobs.end()
    publish("elastic", rows, where, [f"{calm:g} s of training between two changes"])


def changed(jobs: Jobs, name: str, changes: tuple[tuple[str, int], ...], calm: float) -> list[Row]:
    backup = name == "backup"
    folder = jobs.start(
        {**TALLY, "task": "mine:Tally", "args": {"samples": SAMPLES}, "epochs": EPOCHS},
        name=name,
        code=SLOW_TASK,
        servers=2,
        workers=2,
        backup=backup,
        checkpoint={"everySteps": 100_000},
        timing=TIMING,
    )
    until(folder, lambda s: s.progress is not None and s.progress.workers == 2 and s.progress.step > 100, PATIENCE)
    time.sleep(calm)  # what is measured, here and below
    began = time.time()
    pauses = []
    for role, count in changes:
        at = time.time()
        folder.scale(**{role: count})
        until(folder, lambda s, role=role, count=count: there(s, role, count), PATIENCE)  # type: ignore[misc]
        time.sleep(calm)
        pauses.append((f"to {count} {role}", longest_pause(folder, at, time.time())))
        print(f"{name}: {pauses[-1][0]}, longest pause {pauses[-1][1]:.2f} s", flush=True)
    whole = longest_pause(folder, began, time.time())
    jobs.hurry()
    status = ended(folder, PATIENCE)
    assert status.phase == "Succeeded", told(folder)
    return [*of_pauses(folder, name, changes, pauses, whole), *of_counts(folder, name, status)]


def there(status: JobStatus, role: str, count: int) -> bool:
    """Everybody is at work, and nobody else is left."""
    if role == "workers":
        return status.workers.ready == count and status.workers.desired == count
    named = len(status.term.servers) == count and status.opened >= status.term.number
    return named and status.servers.ready == count and sum(m.role == "server" for m in status.members) == count


def of_pauses(
    folder: StateFolder,
    name: str,
    changes: tuple[tuple[str, int], ...],
    pauses: list[tuple[str, float]],
    whole: float,
) -> list[Row]:
    case = f"{name}: workers and servers from 2 " + ", ".join(f"to {count} {role}" for role, count in changes)
    rows = [Row(case, "longest pause", round(whole, 2), "s", f"< {GOAL:g}", whole < GOAL)]
    rows += [
        Row(case, f"longest pause {what}", round(took, 2), "s", f"< {GOAL:g}", took < GOAL) for what, took in pauses
    ]
    steps = [one.step for one in ranges(folder)]
    back = sum(later < earlier for earlier, later in pairwise(steps))
    return [*rows, Row(case, "went back to a checkpoint", back, "times", "0", back == 0)]


def of_counts(folder: StateFolder, name: str, status: JobStatus) -> list[Row]:
    done = audited(folder)
    assert status.progress is not None
    metrics = status.progress.metrics
    least, most = metrics["least"], metrics["most"]
    exact = least == most == EPOCHS and metrics["beyond"] == 0
    lost, again = done.samples_lost, done.samples_repeated
    return [
        Row(name, "least and most that a sample counts", least, f"to {most:g}", f"{EPOCHS}", exact),
        Row(name, "samples lost", lost, "", "0", lost == 0 and not done.problems),
        Row(name, "samples repeated", again, "", "0", again == 0),
        Row(name, "trained again", done.samples_rolled_back, "samples", "0", done.samples_rolled_back == 0),
    ]


if __name__ == "__main__":
    main()
