"""The jobs of this machine: their names, their folders, and one seen as it is now."""

import difflib
import os
import time
from dataclasses import replace

from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.problems import ManifestError
from deepseek_operator.api.status import JobStatus
from deepseek_operator.kept import NotThere
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
    near = difflib.get_close_matches(name, known, 1, 0.5)
    if near:
        help = f"did you mean {near[0]}?"
    elif known:
        help = f"there are: {', '.join(known[:10])}{' ...' if len(known) > 10 else ''}"
    else:
        help = f"no job was started here yet; `{COMMAND} run JOB.yaml` starts one"
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
