"""Groups of processes by cgroup: a process cannot leave its group by forking, so a node can be killed whole.

Works with cgroup v2 and with v1. On v1 our own processes are put in one hierarchy (`pids`); a kubelet makes groups for
its pods in all of them, and needs the folder that it starts from in each.
"""

import contextlib
import os
import signal
from pathlib import Path
from typing import Final

MOUNT: Final = Path("/sys/fs/cgroup")


def unified() -> bool:
    """Whether this machine has cgroup v2 only."""
    return (MOUNT / "cgroup.controllers").exists()


def _hierarchies() -> list[Path]:
    if unified():
        return [MOUNT]
    found = [folder for folder in sorted(MOUNT.iterdir()) if (folder / "cgroup.procs").exists()]
    # Several controllers may be one hierarchy under several names (cpu, cpuacct): links to the same folder.
    return list({folder.resolve(): folder for folder in found}.values())


def _home() -> Path:
    """The hierarchy in which our own processes are kept together."""
    return MOUNT if unified() else MOUNT / "pids"


def make(group: str) -> Path:
    """Makes `group` ("cluster/node1") everywhere; the file to which a process id is written to put it there."""
    for hierarchy in _hierarchies():
        folder = hierarchy
        for part in group.split("/"):
            parent, folder = folder, folder / part
            folder.mkdir(exist_ok=True)
            if unified():
                _pass_on(parent)
            # v1: a process cannot enter a group without CPUs and memory nodes, and new groups have none.
            for file in ("cpuset.cpus", "cpuset.mems"):
                if not unified() and (folder / file).exists() and not (folder / file).read_text().strip():
                    (folder / file).write_text((parent / file).read_text())
    return _home() / group / "cgroup.procs"


def _pass_on(folder: Path) -> None:
    """v2: what may be limited in `folder` may be limited in the groups below it."""
    for controller in (folder / "cgroup.controllers").read_text().split():
        # Some cannot be passed on, by rules of the kernel's own.
        with contextlib.suppress(OSError):
            (folder / "cgroup.subtree_control").write_text(f"+{controller}")


def processes(group: str) -> set[int]:
    """The ids of all processes in `group` and the groups below it."""
    found: set[int] = set()
    for hierarchy in _hierarchies():
        for folder, _, files in os.walk(hierarchy / group):
            if "cgroup.procs" in files:
                # A group may be removed while it is read.
                with contextlib.suppress(OSError):
                    found.update(int(line) for line in Path(folder, "cgroup.procs").read_text().split())
    return found - {0}


def signal_all(group: str, number: signal.Signals) -> set[int]:
    """Sends a signal to all in `group`; the ids of those who were there."""
    there = processes(group)
    for process in there:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
    return there


def remove(group: str) -> bool:
    """Whether `group` is gone now, everywhere. The kernel may still be busy with its last process: then it is not."""
    gone = True
    for hierarchy in _hierarchies():
        for folder, _, _ in os.walk(hierarchy / group, topdown=False):
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                pass
            except OSError:
                gone = False
    return gone
