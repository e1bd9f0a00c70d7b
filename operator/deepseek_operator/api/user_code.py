"""The user's code, read once: its hash is part of the intent, and every member of a job runs the same copy."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 16 * 1024 * 1024
MAX_FILES = 2_000
_LEFT_OUT = ("__pycache__", "node_modules")


class CodeTooLarge(Exception):
    """A folder that holds more than code."""


@dataclass(frozen=True, slots=True)
class UserCode:
    """Files by their path inside the folder, with forward slashes."""

    files: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """SHA-256 over names and contents, in hex; the order and the times of files do not matter."""
        total = hashlib.sha256()
        for name in sorted(self.files):
            content = self.files[name]
            written = os.fsencode(name)  # no UTF-8, perhaps
            total.update(b"%d %s %d " % (len(written), written, len(content)))
            total.update(content)
        return total.hexdigest()

    def place(self, parent: Path) -> Path:
        """Writes the files into `parent/code-<hash>`, whole or not at all, and returns that folder."""
        target = parent / f"code-{self.digest[:12]}"
        if target.is_dir():
            return target
        parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".code-", dir=parent))
        try:
            for name, content in self.files.items():
                path = draft / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            try:
                draft.rename(target)
            except OSError:
                if not target.is_dir():  # another process was first
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return target


def read_folder(folder: Path) -> UserCode:
    """All files of a folder but hidden ones, caches and virtual environments.

    Raises CodeTooLarge beyond 16 MiB or 2,000 files, OSError when something cannot be read.
    """
    files: dict[str, bytes] = {}
    size = 0
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(name for name in folders if _is_code(here / name))
        for name in sorted(names):
            path = here / name
            if name.startswith(".") or name.endswith(".pyc") or not path.is_file():
                continue
            size += path.stat().st_size
            if size > MAX_BYTES or len(files) >= MAX_FILES:
                raise CodeTooLarge(f"holds more than {MAX_BYTES // 2**20} MiB or {MAX_FILES} files")
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
    return UserCode(files)


def _is_code(folder: Path) -> bool:
    return not (folder.name.startswith(".") or folder.name in _LEFT_OUT or (folder / "pyvenv.cfg").exists())
