"""A store in this process's memory, for tests and the simulator: one per URI, gone with the process."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, ClassVar

from deepseek_runtime.checkpoint.store import Sink, Store, StoreError, checked


class MemoryStore(Store):
    _places: ClassVar[dict[str, dict[str, bytes]]] = {}

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.files = self._places.setdefault(uri, {})
        """Path -> content; tests may damage it."""
        self._lock = threading.Lock()

    def put(self, path: str, data: bytes) -> None:
        with self._lock:
            self.files[checked(path)] = bytes(data)

    def create(self, path: str, data: bytes) -> bool:
        with self._lock:
            return self.files.setdefault(checked(path), kept := bytes(data)) is kept

    @contextmanager
    def open_write(self, path: str) -> Iterator[Sink]:
        buffer = io.BytesIO()
        yield buffer
        self.put(path, buffer.getvalue())

    @contextmanager
    def open_read(self, path: str) -> Iterator[BinaryIO]:
        with self._lock:
            data = self.files.get(checked(path))
        if data is None:
            raise StoreError("missing", f"{self.uri}/{path} does not exist")
        yield io.BytesIO(data)

    def exists(self, path: str) -> bool:
        with self._lock:
            return checked(path) in self.files

    def list(self, prefix: str = "", *, unfinished: bool = False) -> list[str]:
        with self._lock:
            return sorted(path for path in self.files if not prefix or path.startswith(checked(prefix) + "/"))

    def delete_tree(self, prefix: str) -> None:
        gone = checked(prefix)
        with self._lock:
            for path in [path for path in self.files if path == gone or path.startswith(gone + "/")]:
                del self.files[path]

    def check(self) -> None:
        pass
