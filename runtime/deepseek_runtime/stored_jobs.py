"""What jobs have stored in the chart's own store, and its removal: for admins, in the store's pod.

    kubectl exec -n NAMESPACE deploy/RELEASE-store -- python -m deepseek_runtime.stored_jobs list
    kubectl exec -n NAMESPACE deploy/RELEASE-store -- python -m deepseek_runtime.stored_jobs remove team-a/digits

A job that is deleted leaves its folder, NAMESPACE/JOB/UID: whoever deletes a job need not mean its checkpoints.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from deepseek_runtime.contract import exit_codes

FOLDER: Final = Path("/data/jobs")
"""Where the chart has it."""
QUIET: Final = 600.0
"""Seconds without a write after which a folder is taken for one that no job uses."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One job's folder."""

    name: str
    """NAMESPACE/JOB/UID"""
    bytes: int
    checkpoints: int
    written: float
    """Seconds since the Unix epoch: the newest file."""


def find(folder: Path, name: str = "") -> list[Stored]:
    """Of all jobs, or of NAMESPACE, NAMESPACE/JOB, NAMESPACE/JOB/UID. Raises OSError."""
    parts = name.strip("/").split("/") if name.strip("/") else []
    if len(parts) > 3 or any(part in ("", ".", "..") for part in parts):
        return []
    pattern = "/".join([*parts, *["*"] * (3 - len(parts))])
    return [
        _look(job, job.relative_to(folder).as_posix())
        for job in sorted(folder.glob(pattern))
        if job.is_dir() and job.relative_to(folder).parts[: len(parts)] == tuple(parts)
    ]


def remove(folder: Path, job: Stored) -> None:
    """Its folder, and those around it that are empty then. Raises OSError."""
    place = folder / job.name
    shutil.rmtree(place)
    for parent in (place.parent, place.parent.parent):
        try:
            parent.rmdir()
        except OSError:  # another job's is in it
            return


def _look(job: Path, name: str) -> Stored:
    size, checkpoints, written = 0, 0, job.stat().st_mtime
    for file in _files(job):
        try:
            about = file.stat()
        except FileNotFoundError:  # its job is at work
            continue
        size += about.st_size
        written = max(written, about.st_mtime)
        checkpoints += file.name == "index.json"
    return Stored(name, size, checkpoints, written)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deepseek_runtime.stored_jobs", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"what the store serves; by default {FOLDER}")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="what is there")
    listing.add_argument("name", nargs="?", default="", help="NAMESPACE, NAMESPACE/JOB or NAMESPACE/JOB/UID")
    removal = commands.add_parser("remove", help="delete checkpoints for good")
    removal.add_argument("name", help="NAMESPACE/JOB, or NAMESPACE/JOB/UID")
    removal.add_argument("--force", action="store_true", help="also of a job that may still be at work")
    for command in (listing, removal):
        command.add_argument("-o", "--output", choices=("text", "json"), default="text")
    given = parser.parse_args(arguments)
    try:
        found = find(given.folder, given.name)
        if given.command == "list":
            _show(found, given.output)
            return exit_codes.OK
        return _remove(given.folder, given.name, found, given.force, given.output)
    except OSError as error:
        return _refuse(f"{error.filename or given.folder}: {error.strerror or error}", exit_codes.MISSING_INPUT)


def _remove(folder: Path, name: str, found: list[Stored], force: bool, output: str) -> int:
    if "/" not in name.strip("/"):
        return _refuse(f"{name}: name a job, NAMESPACE/JOB or NAMESPACE/JOB/UID", exit_codes.USAGE)
    if not found:
        return _refuse(f"nothing is stored of {name}; `list` shows what is there", exit_codes.MISSING_INPUT)
    for job in found:
        quiet = time.time() - job.written
        if quiet < QUIET and not force:
            return _refuse(
                f"{job.name} was written {quiet:.0f} s ago: its job may be at work; nothing was removed. "
                "Delete the job first, then --force",
                exit_codes.CRASHED,
            )
    for job in found:
        remove(folder, job)
    _show(found, output, "removed ")
    return exit_codes.OK


def _show(found: list[Stored], output: str, word: str = "") -> None:
    if output == "json":
        sys.stdout.write(json.dumps([asdict(job) for job in found]) + "\n")
        return
    now = time.time()
    for job in found:
        days, rest = divmod(max(0.0, now - job.written), 86400)
        ago = f"{days:.0f} d" if days else f"{rest / 3600:.1f} h"
        what = f"{job.checkpoints} checkpoints, {job.bytes / 2**20:.1f} MiB, written {ago} ago"
        sys.stdout.write(f"{word}{job.name}  {what}\n")
    if not found:
        sys.stdout.write("nothing is stored\n")


def _refuse(message: str, code: int) -> int:
    sys.stderr.write(f"stored_jobs: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
