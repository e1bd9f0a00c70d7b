"""A job through the client while it runs: from this process and from another, interrupted, scaled, stopped."""

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from deepseek_operator import Job, JobFailed, attach, run
from deepseek_operator.executors.processes import python_environment

TASK = "deepseek_runtime.tasks.digits:Digits"
HELD = {"hold": True}


def until(job: Job, true: Callable[[Job], bool]) -> None:
    """Waits in the client's own way: whenever it looks anew."""
    for _ in range(240):
        if true(job):
            return
        with pytest.raises(TimeoutError):
            job.wait(0.25)
    raise AssertionError(job.why())


def test_from_start_to_result(fakes: Callable[[str], None]) -> None:
    job = run(TASK, workers=2, steps=3, args=HELD)
    assert repr(job).startswith("<Job digits: ")
    with pytest.raises(TimeoutError, match="after 0 s digits is"):
        job.result(timeout=0)
    other = attach("digits")
    until(other, lambda job: job.phase == "Running")
    other.scale(1)
    until(job, lambda job: job.status().workers.ready == 1)
    fakes("digits")
    result = job.result()
    assert (result.steps, result.metrics, other.phase) == (3, {}, "Succeeded")
    assert list(job.logs(follow=True)) == list(other.logs())
    assert "Created" in [event.reason for event in other.events()]


def test_another_process_waits_and_is_interrupted(fakes: Callable[[str], None]) -> None:
    job = run(TASK, steps=3, args=HELD)
    script = (
        "from deepseek_operator import attach\n"
        "from deepseek_operator.jobs_here import JobHere\n"
        "wait = JobHere.wait\n"
        "JobHere.wait = lambda job, seconds: print('here', flush=True) or wait(job, seconds)\n"
        "attach('digits').result()\n"
    )
    waiting = subprocess.Popen(
        [sys.executable, "-c", script], env=python_environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "here\n"
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=60)
    assert waiting.returncode != 0
    assert "digits goes on. next: dsj watch digits   dsj logs digits   dsj stop digits" in said
    assert job.held.alive()
    fakes("digits")
    assert job.wait().phase == "Succeeded"


def test_stopped_and_gone_on(fakes: Callable[[str], None]) -> None:
    job = run(TASK, steps=3, args=HELD)
    until(job, lambda job: job.phase == "Running")
    assert job.stop().phase == "Suspended"
    with pytest.raises(JobFailed, match="is suspended at step 3; dsj run --resume digits"):
        job.result()
    again = run(TASK, steps=3, args=HELD, resume=True)
    assert again.status().uid == job.status().uid
    fakes("digits")
    assert again.result().steps == 3


def test_a_mistake_of_the_users_ends_it(fakes: Callable[[str], None]) -> None:
    job = run(TASK, steps=3, args={"hold": True, "exits": {"worker/0": [65, "train.py line 3: no such column"]}})
    with pytest.raises(JobFailed) as raised:
        job.result()
    failed = raised.value
    assert (failed.reason, failed.role, failed.index, failed.exit_code) == ("UserCodeRaised", "worker", 0, 65)
    assert "no such column" in str(failed)
