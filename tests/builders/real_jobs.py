"""Real jobs on this machine: servers, workers, etcd and supervisor as people start them, only with quick timing."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from deepseek_operator import launch
from deepseek_operator.api.status import JobStatus, MemberStatus
from deepseek_operator.executors.etcd_keeper import read_etcd_file
from deepseek_operator.executors.processes import with_argument
from deepseek_operator.state_folder import StateFolder
from deepseek_runtime.checkpoint.choose import find_checkpoint
from deepseek_runtime.checkpoint.index import Index
from deepseek_runtime.contract.config import Timing
from deepseek_runtime.contract.names import Role

QUICK = Timing(
    heartbeat=0.5,
    worker_lost=2.0,
    registration_ttl=3.0,
    progress=0.1,
    moments=10.0,
    evaluator=30.0,
    residual=5.0,
    resend=1.0,
)
PATIENCE = 150.0
"""Seconds after which a test gives up; says nothing about how long things should take."""

TALLY = {
    "task": "deepseek_runtime.tasks.tally:Tally",
    "batchSize": 16,
    "optimizer": {"name": "sgd", "lr": 1},
    "update": {"localSteps": 4, "weight": "one"},
    "compression": {"method": "none"},
}
LINE = """\
import os
import torch
from torch import nn
from torch.utils.data import TensorDataset

class Line:
    def model(self):
        return nn.Linear(4, 1)

    def loss(self, model, batch):
        x, y = batch
        return nn.functional.mse_loss(model(x), y)

    def dataset(self, split):
        x = torch.linspace(-1, 1, 256).reshape(64, 4)
        return TensorDataset(x, x.sum(1, keepdim=True))

"""
"""A task of a user's: 64 samples, 5 parameters, trained in no time."""
SLOW_TALLY = """\
import os
import time
from deepseek_runtime.tasks import tally

class Tally(tally.Tally):
    def loss(self, model, batch):
        if not os.path.exists(os.environ.get("HURRY", "")):
            time.sleep(0.005)
        return super().loss(model, batch)
"""
"""tally at 200 steps a second a worker at most, until `Jobs.hurry`: a test has time to act. `task: mine:Tally`."""


class Jobs:
    """Jobs with their code and state under `root`; `end` leaves none of them running."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "jobs"
        self.folders: dict[str, StateFolder] = {}
        self.hurrying = root / "hurry"
        """HURRY of the jobs' environment."""

    def write(self, name: str, spec: Mapping[str, Any]) -> Path:
        """The manifest of job `name`."""
        path = self.root / f"{name}.yaml"
        head = {"apiVersion": "deepseek.dev/v1alpha1", "kind": "DeepseekJob", "metadata": {"name": name}}
        path.write_text(yaml.safe_dump({**head, "spec": dict(spec)}), encoding="utf-8")
        return path

    def start(
        self,
        training: Mapping[str, Any],
        *,
        name: str = "job",
        code: str | Mapping[str, str] | None = None,
        servers: int = 1,
        workers: int = 1,
        backup: bool = False,
        checkpoint: Mapping[str, Any] | None = None,
        timing: Timing = QUICK,
        resume: bool = False,
        commands: dict[Role, tuple[str, ...]] | None = None,
        **spec: Any,
    ) -> StateFolder:
        """code: the files of the user's folder; one alone is `mine.py`. commands: what is run for each role."""
        files = {"mine.py": code} if isinstance(code, str) else dict(code or {})
        training = dict(training)
        if files:
            folder = self.root / f"{name}-code"
            folder.mkdir(exist_ok=True)
            for file, text in files.items():
                (folder / file).write_text(text, encoding="utf-8")
            training["code"] = {"folder": str(folder)}
        whole = {
            "servers": {"replicas": servers, "backup": backup},
            "workers": {"replicas": workers, "min": 1, "max": 8},
            "training": training,
            "checkpoint": dict(checkpoint or {}),
            **spec,
        }
        self.folders[name] = StateFolder(self.state / name)
        path = self.write(name, whole)
        return launch.start(path, self.state, timing=timing, resume=resume, commands=commands)

    def start_slowly(self, steps: int, **more: Any) -> StateFolder:
        """SLOW_TALLY, 1,024 samples."""
        training = {**TALLY, "task": "mine:Tally", "args": {"samples": 1024}, "steps": steps}
        return self.start(training, code=SLOW_TALLY, **more)

    def hurry(self) -> None:
        """The test has done what it wanted: slow jobs are slow no more."""
        self.hurrying.touch()

    def end(self) -> None:
        for folder in self.folders.values():
            for member in folder.status().members:
                if member.pid is not None:
                    signal_to(member.pid, signal.SIGCONT)
            etcd = read_etcd_file(folder.etcd_file)
            if etcd is not None and etcd.pid:
                signal_to(etcd.pid, signal.SIGCONT)
            if folder.alive():
                folder.request_stop(drain=False)
                folder.wait(30.0)
            folder.end_left_behind()


def signal_to(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def kill_supervisor(folder: StateFolder) -> None:
    """Members and etcd go on."""
    supervisor = folder.supervisor()
    assert supervisor is not None
    signal_to(supervisor.pid, signal.SIGKILL)
    assert supervisor.wait(10.0)
    supervisor.reap()
    supervisor.close()


def until(folder: StateFolder, true: Callable[[JobStatus], Any], patience: float = PATIENCE) -> JobStatus:
    """The first status of which that is true. Fails when the job ends before, or never gets there."""
    deadline = time.monotonic() + patience
    while True:
        alive = folder.alive()
        status = folder.status()
        if true(status):
            return status
        assert alive, f"the job ended before: {told(folder)}"
        assert time.monotonic() < deadline, f"not within {patience:g} s: {told(folder)}"
        time.sleep(0.02)  # status.json is a file: there is nothing to wait on


def ended(folder: StateFolder, patience: float = PATIENCE) -> JobStatus:
    """The last status of a job that ends by itself, and leaves no process behind."""
    assert folder.wait(patience), f"the job does not end: {told(folder)}"
    left = folder.left_behind()
    assert left == [], [process.pid for process in left]
    assert list(with_argument(f"--data-dir={folder.etcd}/")) == []
    return folder.status()


def told(folder: StateFolder) -> str:
    """What a person would look at."""
    status = folder.status()
    events = "\n".join(f"  {event.time} {event.reason} {event.message}" for event in status.events)
    logs = "\n".join(f"--- {log.name}\n{log.read_text()[-1500:]}" for log in sorted(folder.logs.glob("*.log")))
    return f"{status.phase} {status.exit_code} {status.message!r} step {step_of(status)}\n{events}\n{logs}"


def step_of(status: JobStatus) -> int:
    return status.progress.step if status.progress is not None else 0


def reached(step: int) -> Callable[[JobStatus], bool]:
    return lambda status: step_of(status) >= step


def events(status: JobStatus, reason: str) -> list[str]:
    return [event.message for event in status.events if event.reason == reason]


def condition(status: JobStatus, type: str) -> tuple[bool, str, str]:
    """(true, reason, message)"""
    found = next(c for c in status.conditions if c.type == type)
    return found.status == "True", found.reason, found.message


def member(folder: StateFolder, role: Role, index: int) -> MemberStatus:
    """Who sits there now."""
    found = [m for m in folder.status().members if (m.role, m.index) == (role, index)]
    return max(found, key=lambda m: m.incarnation)


def pid_of(folder: StateFolder, role: Role, index: int) -> int:
    pid = member(folder, role, index).pid
    assert pid is not None
    return pid


def pids(status: JobStatus) -> dict[tuple[str, int], int | None]:
    return {(m.role, m.index): m.pid for m in status.members}


def etcd_pid(folder: StateFolder) -> int:
    etcd = read_etcd_file(folder.etcd_file)
    assert etcd is not None
    assert etcd.pid
    return etcd.pid


def newest_index(folder: StateFolder) -> Index:
    """Of the newest checkpoint that can be read, in the job's own folder."""
    store, choice = find_checkpoint(str(folder.checkpoints))
    store.close()
    return choice.index
