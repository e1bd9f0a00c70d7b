"""`make bench-outages`: what an outage costs a running job of real processes, at the timing that people run.

One job a row: `tally`, 2 servers, 3 workers. A batch waits 4 ms instead of computing, so that rates are the machinery's
and steady. What was trained is counted from the servers' journals, so also while etcd is away; then the job is drained.
QUICK=1: shorter outages, to see that the benchmark works.
"""

import json
import os
import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench._table import Row, machine, publish
from builders.real_jobs import (
    TALLY,
    Jobs,
    ended,
    etcd_pid,
    kill_supervisor,
    pid_of,
    pids,
    reached,
    signal_to,
    step_of,
    told,
    until,
)
from deepseek_operator import launch
from deepseek_operator.api.status import JobStatus
from deepseek_operator.state_folder import StateFolder
from deepseek_runtime.audit import Audit, audit
from deepseek_runtime.contract.config import Timing, load_config

TASK = """\
import time
from deepseek_runtime.tasks import tally

class Tally(tally.Tally):
    def loss(self, model, batch):
        time.sleep(0.004)
        return super().loss(model, batch)
"""
TIMING = Timing(progress=0.5)
"""As `dsj run` has it."""
PATIENCE = 300.0


def main() -> None:
    quick = os.environ.get("QUICK", "") not in ("", "0")
    away, paused, window = (12.0, 8.0, 8.0) if quick else (60.0, 30.0, 30.0)
    where = machine()
    with tempfile.TemporaryDirectory(prefix="dsj-outages-") as root:
        jobs = Jobs(Path(root))
        try:
            rows = [
                *etcd_away(begin(jobs, "away"), away, window),
                *etcd_emptied(begin(jobs, "emptied")),
                *worker_paused(begin(jobs, "paused"), paused),
                *supervisor_killed(begin(jobs, "supervisor")),
            ]
        finally:
            jobs.end()
    note = f"SIGSTOP to etcd for {away:g} s, to the worker for {paused:g} s; rates: pushes applied, {window:g} s before"
    publish("outages", rows, where, [note])


def begin(jobs: Jobs, name: str) -> StateFolder:
    """A job that trains, and would for hours."""
    folder = jobs.start(
        {**TALLY, "task": "mine:Tally", "steps": 10_000_000},
        name=name,
        code=TASK,
        servers=2,
        workers=3,
        checkpoint={"everySteps": 5000},
        timing=TIMING,
    )
    until(folder, lambda s: step_of(s) > 500 and s.progress is not None and s.progress.workers == 3, PATIENCE)
    return folder


def etcd_away(folder: StateFolder, seconds: float, window: float) -> list[Row]:
    before = folder.status()
    usual = rate(folder, window)
    etcd = etcd_pid(folder)
    signal_to(etcd, signal.SIGSTOP)
    during = rate(folder, seconds)
    signal_to(etcd, signal.SIGCONT)
    after = until(folder, reached(step_of(before) + 1000), PATIENCE)
    done = counted(folder)
    case = f"etcd away for {seconds:g} s"
    return [
        Row(case, "rate during / before", during / usual, "", "0.9 to 1.1", 0.9 <= during / usual <= 1.1),
        replaced(case, before, after),
        *exact(case, done),
    ]


def etcd_emptied(folder: StateFolder) -> list[Row]:
    before = folder.status()
    signal_to(etcd_pid(folder), signal.SIGKILL)
    status = until(folder, lambda s: any(r.role == "etcd" and r.seconds is not None for r in s.recoveries), PATIENCE)
    took = next(r.seconds or 0.0 for r in status.recoveries if r.role == "etcd")
    after = until(folder, reached(step_of(status) + 1000), PATIENCE)
    done = counted(folder)
    case = "etcd emptied"
    return [
        Row(case, "until all are registered again", took, "s", "< 10", took < 10),
        replaced(case, before, after),
        *exact(case, done),
    ]


def worker_paused(folder: StateFolder, seconds: float) -> list[Row]:
    before = folder.status()
    worker = pid_of(folder, "worker", 1)
    signal_to(worker, signal.SIGSTOP)
    time.sleep(seconds)  # the outage itself
    earlier = pushes_of(folder, "worker-1-0")
    signal_to(worker, signal.SIGCONT)
    woken = folder.status()
    after = until(folder, lambda s: pushes_of(folder, "worker-1-0") > earlier + 50, PATIENCE)
    assert step_of(after) > step_of(woken), told(folder)
    done = counted(folder)
    case = f"a worker paused for {seconds:g} s"
    late = pushes_of(folder, "worker-1-0") - earlier
    return [
        Row(case, "its pushes since", late, "", "> 0", late > 0),
        replaced(case, before, after),
        *exact(case, done),
    ]


def supervisor_killed(folder: StateFolder) -> list[Row]:
    before = folder.status()
    kill_supervisor(folder)
    alone = rate(folder, 5.0)
    launch.resume(folder.name, folder.path.parent)
    after = until(folder, reached(step_of(before) + 1000), PATIENCE)
    done = counted(folder)
    case = "the supervisor killed, resumed"
    return [
        Row(case, "rate without one", alone, "pushes/s", "> 0", alone > 0),
        replaced(case, before, after),
        *exact(case, done),
    ]


def rate(folder: StateFolder, seconds: float) -> float:
    """Pushes a second that server 0 applies, over so many seconds."""
    began, first = time.monotonic(), lines(folder)
    time.sleep(seconds)  # what is measured
    return (lines(folder) - first) / (time.monotonic() - began)


def lines(folder: StateFolder) -> int:
    return (folder.path / "pushes-0.jsonl").read_bytes().count(b"\n")


def pushes_of(folder: StateFolder, worker: str) -> int:
    with folder.metrics_file.open(encoding="utf-8") as file:
        return sum(json.loads(line).get("worker") == worker for line in file if line.endswith("\n"))


def counted(folder: StateFolder) -> Audit:
    """Drains the job and counts it from outside."""
    folder.request_stop()
    status = ended(folder, PATIENCE)
    assert status.phase == "Suspended", told(folder)
    (config,) = folder.path.glob("config-*.json")
    return audit(load_config(config))


def replaced(case: str, before: JobStatus, after: JobStatus) -> Row:
    was: Mapping[tuple[str, int], int | None] = pids(before)
    gone = sum(pids(after).get(seat) != pid for seat, pid in was.items())
    return Row(case, "members restarted", gone, "", "0", gone == 0 and after.restarts_total == 0)


def exact(case: str, done: Audit) -> list[Row]:
    return [
        Row(case, "samples lost", done.samples_lost, "", "0", done.samples_lost == 0 and not done.problems),
        Row(case, "samples repeated", done.samples_repeated, "", "0", done.samples_repeated == 0),
    ]


if __name__ == "__main__":
    main()
