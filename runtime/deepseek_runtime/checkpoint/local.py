"""A store in a folder of this machine (or a mounted volume).

A file is written under a temporary name, synced, moved to its own name in one step, and its folder is synced: after
a crash or a loss of power there is the old file, the new file or none, never a piece of one.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from deepseek_runtime.checkpoint.store import Sink, Store, StoreError, checked

UNFINISHED: Final = ".unfinished-"
"""In the name of a file that is being written."""

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED: Final = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""What link() says on file systems that have none (FAT, some network ones)."""
_AWAY: Final = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOTCONN, errno.EAGAIN}


class LocalStore(Store):
    """root: absolute, or relative to the working folder; `~` is the home folder."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(os.path.abspath(Path(root).expanduser()))
        self.uri = str(self.root)

    def put(self, path: str, data: bytes) -> None:
        with self.open_write(path) as sink:
            sink.write(data)

    def create(self, path: str, data: bytes) -> bool:
        target = self._path(path)
        with self._errors(path):
            temporary = self._begin(target)
            try:
                with open(temporary, "xb") as file:
                    file.write(data)
                    _sync(file)
                if not _publish_new(temporary, target):
                    return False
            finally:
                with suppress(FileNotFoundError):
                    temporary.unlink()
            _sync_folder(target.parent)
        return True

    @contextmanager
    def open_write(self, path: str) -> Iterator[Sink]:
        target = self._path(path)
        with self._errors(path):
            temporary = self._begin(target)
            try:
                with open(temporary, "xb") as file:
                    yield file
                    _sync(file)
                os.replace(temporary, target)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            _sync_folder(target.parent)

    @contextmanager
    def open_read(self, path: str) -> Iterator[BinaryIO]:
        with self._errors(path), open(self._path(path), "rb") as file:
            yield file

    def exists(self, path: str) -> bool:
        with self._errors(path):
            return self._path(path).is_file()

    def list(self, prefix: str = "", *, unfinished: bool = False) -> list[str]:
        top = self._path(prefix) if prefix else self.root
        found = []
        with self._errors(prefix):
            for folder, _, files in os.walk(top, onerror=_unless_missing):
                here = Path(folder).relative_to(self.root)
                found += [(here / file).as_posix() for file in files if unfinished or UNFINISHED not in file]
        return sorted(found)

    def delete_tree(self, prefix: str) -> None:
        target = self._path(prefix)
        with self._errors(prefix), suppress(FileNotFoundError, NotADirectoryError):
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink()
            _sync_folder(target.parent)

    def check(self) -> None:
        probe = f".writable{UNFINISHED}{secrets.token_hex(4)}"
        self.put(probe, b"ok")
        self.delete_tree(probe)

    def _path(self, path: str) -> Path:
        return self.root / checked(path)

    def _begin(self, target: Path) -> Path:
        _make_folder(target.parent)
        return target.with_name(f"{target.name}{UNFINISHED}{secrets.token_hex(4)}")

    @contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._explained(error, path) from error

    def _explained(self, error: OSError, path: str) -> StoreError:
        where = f"{self.root}/{path}" if path else str(self.root)
        if isinstance(error, FileNotFoundError):
            return StoreError("missing", f"{where} does not exist")
        if error.errno in _FULL:
            return StoreError("full", f"no space is left for {where} ({error.strerror}); free some, or lower keep")
        if error.errno in _DENIED:
            return StoreError("denied", f"{where}: {error.strerror}; choose a folder that this user may write")
        if isinstance(error, NotADirectoryError | FileExistsError):
            return StoreError("denied", f"{where}: a file stands where a folder is needed; choose another folder")
        if error.errno in _AWAY:
            return StoreError("unreachable", f"{where}: {error.strerror}")
        return StoreError("failed", f"{where}: {error.strerror or error}")


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _publish_new(temporary: Path, target: Path) -> bool:
    """Gives a file its name unless the name is taken; True if it was free."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if target.exists():
            return False
        os.replace(temporary, target)
    return True


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _make_folder(folder: Path) -> None:
    """Makes a folder and its parents; the new names are synced, or the files in them could be lost with them."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder == folder.parent:
            break
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        _sync_folder(new.parent)


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.ENOENT):  # a folder may be written without being readable
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)
