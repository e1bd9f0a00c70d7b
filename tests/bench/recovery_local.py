"""`make bench-recovery-local`: SIGKILL of one of 3 servers in training, real processes on this machine.

Two jobs of `tally` (3 servers, 3 workers; a batch waits 20 ms instead of computing), one with `servers.backup`, one
without. In turn each loses a server, its chief every third time; ROUNDS times each. From the moment in which the
supervisor saw the loss until the chief of the next term has a range done: what a push lives through. Beside it how long
the replacement took to register, which nothing can undercut. At the end both are drained and counted from outside.

QUICK=1: one round.
"""

import os
import signal
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench._done import PATIENCE, SLOW_TASK, audited, event_time, next_range, settled
from bench._table import Row, machine, publish
from builders.real_jobs import TALLY, Jobs, ended, pid_of, reached, signal_to, step_of, told, until
from deepseek_operator.state_folder import StateFolder
from deepseek_runtime.contract.config import Timing

TIMING = Timing(progress=0.5)
"""As `dsj run` has it."""
ROUNDS = 6
GOAL = {True: 3.0, False: 10.0}
"""Seconds from detection to the first new range."""


@dataclass(slots=True)
class Losses:
    """Of one job: seconds from detection to the first new range, and to the replacement's registration."""

    worked: list[float] = field(default_factory=list)
    registered: list[float] = field(default_factory=list)
    chiefs: list[float] = field(default_factory=list)
    back: int = 0
    """Steps that all went back, in all."""


def main() -> None:
    rounds = 1 if os.environ.get("QUICK", "") not in ("", "0") else ROUNDS
    where = machine()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="dsj-recovery-local-") as root:
        jobs = Jobs(Path(root))
        try:
            running = {backup: begin(jobs, backup) for backup in (True, False)}
            losses = {backup: Losses() for backup in running}
            for number in range(rounds):
                for backup, folder in running.items():
                    lose(folder, losses[backup], 0 if number % 3 == 2 else 1 + number % 3)
            for backup, folder in running.items():
                rows += told_of(folder, backup, losses[backup])
        finally:
            jobs.end()
    notes = ["limit: until the replacement's process has registered in etcd; gap: from detection, as `worked`"]
    publish("recovery-local", rows, where, notes)


def begin(jobs: Jobs, backup: bool) -> StateFolder:
    folder = jobs.start(
        {**TALLY, "task": "mine:Tally", "args": {"samples": 1024}, "steps": 10_000_000},
        name="backup" if backup else "plain",
        code=SLOW_TASK,
        servers=3,
        workers=3,
        backup=backup,
        checkpoint={"everySteps": 500},
        timing=TIMING,
    )
    until(folder, reached(600), PATIENCE)
    return folder


def lose(folder: StateFolder, losses: Losses, server: int) -> None:
    """One server gets SIGKILL while all train."""
    before = folder.status()
    settled(folder, reached(step_of(before) + 150), 1.0)
    term = folder.status().term.number
    killed = time.time()
    signal_to(pid_of(folder, "server", server), signal.SIGKILL)
    first = next_range(folder, killed, term + 1)
    status = until(folder, lambda s: s.opened > term, PATIENCE)
    detected = event_time(status, "MemberLost", f"server-{server}-", killed - 0.01)
    losses.worked.append(first.time - detected)
    losses.registered.append(event_time(status, "TermRaised", f"term {term + 1}", killed) - detected)
    if server == 0:
        losses.chiefs.append(first.time - detected)
    print(f"{folder.name}: server {server}, {first.time - detected:.2f} s after it was seen", flush=True)
    losses.back += "checkpoint of step" in next(
        event.message
        for event in status.events
        if event.reason == "TermOpened" and event.message.startswith(f"term {term + 1}:")
    )


def told_of(folder: StateFolder, backup: bool, losses: Losses) -> list[Row]:
    folder.request_stop()
    status = ended(folder, PATIENCE)
    assert status.phase == "Suspended", told(folder)
    done = audited(folder)
    case = f"one of 3 servers, {'with' if backup else 'without'} backup"
    worst, goal = max(losses.worked), GOAL[backup]
    limit = round(statistics.median(losses.registered), 2)
    middle = statistics.median(losses.worked)
    rows = [
        Row(case, "first new range, worst", round(worst, 2), "s", f"< {goal:g}", worst < goal),
        Row(case, "first new range, median", round(middle, 2), "s", f"< {goal:g}", middle < goal, limit=limit),
        Row(case, "samples lost", done.samples_lost, "", "0", done.samples_lost == 0 and not done.problems),
        Row(case, "samples repeated", done.samples_repeated, "", "0", done.samples_repeated == 0),
    ]
    if losses.chiefs:
        worst = max(losses.chiefs)
        rows.append(Row(f"{case}: the chief", "first new range, worst", round(worst, 2), "s", "", worst < goal))
    if backup:
        gone = done.samples_rolled_back
        rows += [
            Row(case, "acknowledged pushes lost", gone, "samples", "0", gone == 0),
            Row(case, "went back to a checkpoint", losses.back, f"of {len(losses.worked)}", "0", losses.back == 0),
        ]
    else:
        rows.append(Row(case, "trained again", done.samples_rolled_back, "samples", "shown", True))
    return rows


if __name__ == "__main__":
    main()
