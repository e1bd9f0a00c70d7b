"""Servers lost and scaled in a real job: with backups nobody goes back, whoever of them is killed."""

import os
import signal

from builders.real_jobs import Jobs, ended, events, pid_of, reached, step_of, told, until
from deepseek_runtime.audit import audit
from deepseek_runtime.contract.config import load_config


def test_killed_and_scaled_while_it_trains(jobs: Jobs) -> None:
    folder = jobs.start_slowly(1600, servers=2, workers=2, backup=True, checkpoint={"everySteps": 10_000})
    until(folder, reached(200))
    os.kill(pid_of(folder, "server", 1), signal.SIGKILL)
    until(folder, lambda s: s.opened == 2)
    folder.scale(servers=3)
    until(folder, lambda s: s.opened == 3)
    until(folder, reached(step_of(folder.status()) + 100))
    os.kill(pid_of(folder, "server", 0), signal.SIGKILL)
    until(folder, lambda s: s.opened == 4)
    folder.scale(servers=2)
    until(folder, lambda s: s.opened == 5 and sum(m.role == "server" for m in s.members) == 2)
    jobs.hurry()
    status = ended(folder)
    assert (status.phase, status.restarts_total) == ("Succeeded", 2), told(folder)
    opened = [text.partition(": ")[2] for text in events(status, "TermOpened")]
    there = "from the state that was there"
    assert opened == [
        "2 servers, from checkpoint of step 0",
        *(f"{servers} servers, {there}" for servers in (2, 3, 3, 2)),
    ]
    assert status.progress is not None
    assert status.progress.metrics == {"least": 25.0, "most": 25.0, "mean": 25.0, "beyond": 0.0}
    (document,) = folder.path.glob("config-*.json")
    found = audit(load_config(document))
    assert found.exact, found
    assert found.samples_rolled_back == 0
