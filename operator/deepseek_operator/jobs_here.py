"""The jobs of this machine: their names, their folders, one seen as it is now, and all that may be asked of it."""

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepseek_operator import kept
from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.problems import ManifestError
from deepseek_operator.api.status import JobStatus
from deepseek_operator.curves import Curves, read_curves
from deepseek_operator.executors.processes import Process
from deepseek_operator.kept import NotThere
from deepseek_operator.member_logs import OTHERS, Followed, files
from deepseek_operator.place import Busy, Choice, Exported, Log, Saved, nearest
from deepseek_operator.pushes import Pushes
from deepseek_operator.state_folder import StateBroken, StateFolder, default_state_root
from deepseek_operator.view.snapshot import Snapshot
from deepseek_runtime.contract.names import COMMAND


def names() -> list[str]:
    """Of all jobs that were ever started here and not deleted."""
    root = default_state_root()
    try:
        found = [entry.name for entry in os.scandir(root) if entry.is_dir()]
    except OSError:
        return []
    return sorted(name for name in found if StateFolder(root / name).exists())


def find(name: str) -> StateFolder:
    """Raises NotThere, with the name that is nearest to this one."""
    known = names()
    if name in known:
        return StateFolder(default_state_root() / name)
    help = nearest(name, known, f"no job was started here yet; `{COMMAND} run JOB.yaml` starts one")
    raise NotThere(f"there is no job {name or repr(name)} in {default_state_root()}", help)


def read_job(folder: StateFolder) -> DeepseekJob | None:
    try:
        return folder.job()
    except (StateBroken, ManifestError):
        return None


def look(folder: StateFolder, job: DeepseekJob | None = None) -> Snapshot:
    """The job now. Raises StateBroken when its status cannot be read."""
    attended = folder.alive()  # before the status: a supervisor writes its last one before it ends
    status = folder.status()
    shot = Snapshot(
        name=folder.name,
        status=status,
        now=time.time(),
        attended=attended,
        job=job or read_job(folder),
        folder=str(folder.path),
    )
    return replace(shot, members_live=folder.members_live()) if shot.abandoned else shot


def look_or_unreadable(folder: StateFolder) -> Snapshot:
    """For lists: a job whose status cannot be read is a line of its own, and not the end of the list."""
    try:
        return look(folder)
    except StateBroken as error:
        status = JobStatus(phase="Unreadable", message=str(error))
        return Snapshot(folder.name, status, time.time(), attended=True, folder=str(folder.path))


class JobHere:
    """A place.Job: a state folder."""

    tick = 0.25
    patience = 10.0
    log_sources = OTHERS

    def __init__(self, folder: StateFolder) -> None:
        self.folder = folder
        self._job: DeepseekJob | None = None

    @property
    def name(self) -> str:
        return self.folder.name

    def look(self) -> Snapshot:
        """Raises StateBroken."""
        self._job = self._job or read_job(self.folder)
        return look(self.folder, self._job)

    def alive(self) -> bool:
        return self.folder.alive()

    def runner(self) -> Process | None:
        return self.folder.supervisor()

    def wait(self, seconds: float) -> bool:
        return self.folder.wait(seconds)

    def stop(self, *, kill: bool = False) -> None:
        self.folder.request_stop(drain=not kill)

    def clear_up(self) -> str:
        self.folder.sweep()
        left = self.folder.left_behind()
        for process in left:
            process.close()
        if not left or self.folder.alive():
            return ""
        pids = ", ".join(str(process.pid) for process in left)
        return f"processes of {self.name} cannot be ended: {pids}; see {self.folder.logs}/supervisor.log"

    def scale(self, workers: int | None = None, servers: int | None = None) -> None:
        self.folder.scale(workers, servers)

    def what_goes(self) -> str:
        return f"{self.folder.path} with its checkpoints and logs"

    def delete(self) -> str:
        if self.folder.alive():
            raise Busy(f"{self.name} is running")
        if look_or_unreadable(self.folder).members_live:
            raise Busy(f"members of {self.name} still run")
        lock = self.folder.take_lock()
        if lock is None:
            raise Busy(f"{self.name} has just been started")
        self.folder.remove(lock)
        return str(self.folder.path)

    def logs(self, choice: Choice, most: int | None = None) -> Mapping[str, Log]:
        return {source: Followed(file) for source, file in files(choice, self.folder).items()}

    def measured(self) -> Pushes:
        return Pushes(self.folder.metrics_file)

    def curves(self) -> Curves:
        return read_curves(self.name, self.folder.metrics_file, self.folder.status().recoveries)

    def checkpoints(self) -> tuple[str, list[Saved]]:
        found = kept.checkpoints(self.folder)
        saved = [
            Saved(
                step=one.name.step,
                term=one.name.term,
                created=one.index.created if one.index else None,
                size=one.size,
                current=one.on_lineage,
                problem=one.problem,
            )
            for one in found
        ]
        return kept.config_of(self.folder).checkpoint.uri, saved

    def export(self, file: Path, step: int | None = None) -> Exported:
        done = kept.export_model(self.folder, file, step)
        passed = tuple((at.step, at.term, why) for at, why in done.passed_over)
        return Exported(done.path, done.step, done.term, done.tensors, done.size, passed)

    def audit(self) -> Any:
        return kept.audited(self.folder)


class Here:
    """A place.Place: this machine."""

    cluster = False

    @property
    def described(self) -> str:
        return f"in {default_state_root()}"

    def names(self) -> list[str]:
        return names()

    def find(self, name: str) -> JobHere:
        return JobHere(find(name))

    def looks(self) -> list[Snapshot]:
        return [look_or_unreadable(find(name)) for name in names()]

    def spelled(self, text: str) -> str:
        return text
