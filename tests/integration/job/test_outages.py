"""Outages of what a job stands on, with real members: nobody is restarted for silence, nothing is counted twice."""

import signal
import time

from builders.real_jobs import (
    QUICK,
    Jobs,
    condition,
    ended,
    etcd_pid,
    events,
    kill_supervisor,
    pid_of,
    pids,
    reached,
    signal_to,
    step_of,
    told,
    until,
)
from chaos.check import violations
from deepseek_operator import launch
from deepseek_operator.state_folder import StateFolder


def slowly(jobs: Jobs, steps: int) -> StateFolder:
    """Two servers, two workers, about 200 steps a second at most: time to act in. Returns when it trains."""
    folder = jobs.start_slowly(steps, servers=2, workers=2, checkpoint={"everySteps": 200, "keep": 2})
    until(folder, lambda s: step_of(s) >= 40 and len(s.members) == 4 and all(m.phase == "running" for m in s.members))
    return folder


def exact(jobs: Jobs, folder: StateFolder) -> None:
    """It succeeds, and each sample counts exactly once."""
    jobs.hurry()
    status = ended(folder)
    assert (status.phase, status.exit_code) == ("Succeeded", 0), told(folder)
    assert violations(folder, dense=True) == []


def ranges_logged(folder: StateFolder) -> int:
    """Lines of the servers' own journals: seen without etcd."""
    return sum(path.read_bytes().count(b"\n") for path in folder.path.glob("pushes*.jsonl"))


def test_etcd_away_for_a_while(jobs: Jobs) -> None:
    """Longer than registrations live; it comes back with all it had."""
    folder = slowly(jobs, 4000)
    before = folder.status()
    signal_to(etcd_pid(folder), signal.SIGSTOP)
    step, stopped = ranges_logged(folder), time.monotonic()
    until(folder, lambda s: time.monotonic() - stopped > 2 * QUICK.registration_ttl)
    assert ranges_logged(folder) > step + 100, told(folder)
    signal_to(etcd_pid(folder), signal.SIGCONT)
    status = until(folder, reached(step_of(before) + 400))
    assert pids(status) == pids(before)
    assert status.term.number == 1
    exact(jobs, folder)
    assert folder.status().restarts_total == 0


def test_etcd_emptied(jobs: Jobs) -> None:
    folder = slowly(jobs, 2000)
    before = folder.status()
    signal_to(etcd_pid(folder), signal.SIGKILL)
    status = until(folder, lambda s: any(r.role == "etcd" and r.seconds is not None for r in s.recoveries))
    assert pids(status) == pids(before)
    # the chief has written its progress anew
    status = until(folder, reached(step_of(status) + 100))
    assert (status.term.number, status.opened, status.restarts_total) == (1, 1, 0)
    assert condition(status, "Running")[0]
    exact(jobs, folder)
    last = folder.status()
    assert last.restarts_total == 0
    assert not [r for r in last.recoveries if r.role != "etcd"]


def test_a_worker_paused_and_woken(jobs: Jobs) -> None:
    """Longer than the chief's patience: its range is given to another, and what it pushes late does not count."""
    folder = slowly(jobs, 3000)
    before = folder.status()
    paused = pid_of(folder, "worker", 1)
    signal_to(paused, signal.SIGSTOP)
    until(folder, lambda s: any("worker-1-0: no heartbeat" in text for text in events(s, "WorkerLost")))
    # its registration has ended too
    since = time.monotonic()
    until(folder, lambda s: time.monotonic() - since > QUICK.registration_ttl)
    step = step_of(folder.status())
    signal_to(paused, signal.SIGCONT)
    status = until(folder, lambda s: s.progress is not None and s.progress.workers == 2 and step_of(s) > step + 100)
    assert pids(status) == pids(before)
    exact(jobs, folder)
    assert folder.status().restarts_total == 0


def test_a_server_paused_and_woken(jobs: Jobs) -> None:
    """Silence is not death: it is waited for."""
    folder = slowly(jobs, 1600)
    before = folder.status()
    paused = pid_of(folder, "server", 1)
    signal_to(paused, signal.SIGSTOP)
    since = time.monotonic()
    until(folder, lambda s: time.monotonic() - since > QUICK.registration_ttl + 3.0)
    assert pids(folder.status()) == pids(before)
    signal_to(paused, signal.SIGCONT)
    status = until(folder, reached(step_of(before) + 100))
    assert pids(status) == pids(before)
    assert status.term.number == 1
    exact(jobs, folder)


def test_a_killed_supervisor_is_followed_by_one_that_adopts(jobs: Jobs) -> None:
    folder = slowly(jobs, 4000)
    before, etcd = folder.status(), etcd_pid(folder)
    kill_supervisor(folder)
    logged = ranges_logged(folder)
    deadline = time.monotonic() + 60.0
    while ranges_logged(folder) < logged + 50:
        assert time.monotonic() < deadline, told(folder)
        time.sleep(0.05)  # a journal: there is nothing to wait on
    launch.resume(folder.name, folder.path.parent)
    status = until(folder, reached(step_of(before) + 100))
    assert pids(status) == pids(before)
    assert etcd_pid(folder) == etcd
    assert (status.term.number, status.restarts_total) == (1, 0)
    exact(jobs, folder)


def test_members_asked_to_leave_by_somebody_else(jobs: Jobs) -> None:
    """SIGTERM, as on a node that is drained: a worker hands over what it holds, and each is replaced."""
    folder = slowly(jobs, 2000)
    before = pids(folder.status())
    signal_to(pid_of(folder, "worker", 1), signal.SIGTERM)
    status = until(folder, lambda s: any(r.role == "worker" and r.seconds is not None for r in s.recoveries))
    assert events(status, "MemberDrained")
    assert status.restarts_total == 0
    signal_to(pid_of(folder, "server", 1), signal.SIGTERM)
    status = until(folder, lambda s: any(r.role == "server" and r.seconds is not None for r in s.recoveries))
    after = pids(status)
    assert {seat for seat, pid in before.items() if after[seat] != pid} == {("worker", 1), ("server", 1)}
    assert status.opened == 2
    exact(jobs, folder)
