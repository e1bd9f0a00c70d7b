"""A disk with little space: a tmpfs of the test's own where mounting is allowed, else a store that refuses.

`small_disk` gives a real file system, on which ENOSPC comes from the kernel; `FullStore` wraps any store and is enough
where only the reaction matters.
"""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from deepseek_runtime.checkpoint.store import Sink, Store, StoreError


class CannotMount(Exception):
    """Why this process may not mount; tests skip with it."""


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A tmpfs of that size at `folder` (made if needed), gone afterwards. Raises CannotMount."""
    if os.geteuid() != 0:
        raise CannotMount("only root may mount a tmpfs")
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "dsj-small-disk", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except FileNotFoundError as error:
        raise CannotMount("there is no mount command") from error
    if done.returncode != 0:
        raise CannotMount(done.stderr.strip() or f"mount exited with {done.returncode}")
    try:
        yield folder
    finally:
        # lazily: a process that the test has just killed may still hold a file open
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, timeout=20, check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Takes all space on the disk of `folder` but `leave` bytes, in one file; delete it to give the space back."""
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as file:
        block = b"\0" * (64 << 10)
        try:
            while file.write(block) == len(block):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        file.truncate(max(0, file.tell() - leave))
    return filler


class FullStore(Store):
    """A store that has room for `room` more bytes. Set `room` anew to make space."""

    def __init__(self, store: Store, room: int) -> None:
        self.store = store
        self.uri = store.uri
        self.room = room

    def _take(self, count: int) -> None:
        if count > self.room:
            raise StoreError("full", f"no space is left for {self.uri}")
        self.room -= count

    def put(self, path: str, data: bytes) -> None:
        self._take(len(data))
        self.store.put(path, data)

    def create(self, path: str, data: bytes) -> bool:
        self._take(len(data))
        return self.store.create(path, data)

    @contextmanager
    def open_write(self, path: str) -> Iterator[Sink]:
        take = self._take

        class Counted:
            def __init__(self, sink: Sink) -> None:
                self.sink = sink

            def write(self, data: memoryview | bytes, /) -> object:
                take(len(data))
                return self.sink.write(data)

        with self.store.open_write(path) as sink:
            yield Counted(sink)

    def open_read(self, path: str) -> AbstractContextManager[BinaryIO]:
        return self.store.open_read(path)

    def exists(self, path: str) -> bool:
        return self.store.exists(path)

    def list(self, prefix: str = "", *, unfinished: bool = False) -> list[str]:
        return self.store.list(prefix, unfinished=unfinished)

    def delete_tree(self, prefix: str) -> None:
        self.store.delete_tree(prefix)

    def check(self) -> None:
        self.put(".writable", b"ok")
        self.delete_tree(".writable")
