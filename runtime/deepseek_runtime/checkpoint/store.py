"""A place for files by relative path, and the errors it has, in words that a person can act on.

Whatever the place, a reader sees a file whole or not at all: `put` and `open_write` become visible in one step.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, Final, Literal, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

Kind = Literal["scheme", "unreachable", "missing", "full", "damaged", "denied", "conflict", "failed"]
T = TypeVar("T")

PIECE: Final = 4 << 20
"""Bytes that are read or written at once."""


class StoreError(Exception):
    """Something is wrong with a store or with what it holds. `str` is a message for people.

    scheme: the URI cannot be used here; unreachable: no answer, worth another try; missing: no such file; full: no
    space or quota; denied: credentials or permissions; damaged: a file is not what was written; conflict: something
    else was stored there before; failed: anything else, never worth another try.
    """

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message

    def __reduce__(self) -> tuple[type["StoreError"], tuple[Kind, str]]:
        return StoreError, (self.kind, self.message)


class Sink(Protocol):
    """What `open_write` gives: bytes go in, in order."""

    def write(self, data: memoryview | bytes, /) -> object: ...


class Store(ABC):
    """Files under one root. Paths are relative, with forward slashes, without `..`. Raises StoreError throughout.

    May be used from several threads at once.
    """

    uri: str
    """For people: without passwords."""

    @abstractmethod
    def put(self, path: str, data: bytes) -> None:
        """Stores one small file in one step; replaces an older one."""

    @abstractmethod
    def create(self, path: str, data: bytes) -> bool:
        """Like `put`, but leaves a file that exists as it is, and returns False."""

    @abstractmethod
    def open_write(self, path: str) -> AbstractContextManager[Sink]:
        """A file of any size, written piece by piece. Visible when the block ends well, gone when it raises."""

    @abstractmethod
    def open_read(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A file to be read from its beginning."""

    @abstractmethod
    def exists(self, path: str) -> bool: ...

    @abstractmethod
    def list(self, prefix: str = "", *, unfinished: bool = False) -> list[str]:
        """All files under a folder, sorted, as paths from the root; none when there is no such folder.

        unfinished: also what a killed writer may have left half-way.
        """

    @abstractmethod
    def delete_tree(self, prefix: str) -> None:
        """Deletes the file or folder of that name with all in it; no error when there is none."""

    @abstractmethod
    def check(self) -> None:
        """Makes the root if it is not there, and proves that it can be written: by writing."""

    def close(self) -> None:  # noqa: B027 - most stores hold nothing open
        """Closes connections; the store must not be used any more."""

    def get(self, path: str) -> bytes:
        """A whole small file."""
        with self.open_read(path) as file:
            return file.read()


def checked(path: str) -> str:
    """A path that cannot leave its root. Raises StoreError(damaged): such paths come only from a damaged index."""
    parts = path.split("/")
    if not path or "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise StoreError("damaged", f"{path!r} is not a path inside a store")
    return path


EXTRAS: Final[Mapping[str, tuple[str, str]]] = {
    "s3": ("s3fs", "deepseek-operator[s3]"),
    "s3a": ("s3fs", "deepseek-operator[s3]"),
    "gs": ("gcsfs", "deepseek-operator[gcs]"),
    "gcs": ("gcsfs", "deepseek-operator[gcs]"),
    "http": ("webdav4", "deepseek-operator[webdav]"),
    "https": ("webdav4", "deepseek-operator[webdav]"),
    "webdav": ("webdav4", "deepseek-operator[webdav]"),
    "webdavs": ("webdav4", "deepseek-operator[webdav]"),
    "dav": ("webdav4", "deepseek-operator[webdav]"),
    "davs": ("webdav4", "deepseek-operator[webdav]"),
    "az": ("adlfs", "adlfs"),
    "abfs": ("adlfs", "adlfs"),
    "abfss": ("adlfs", "adlfs"),
}
"""Scheme -> (module that it needs, what to install)."""


def open_store(uri: str, options: Mapping[str, Any] | None = None, *, volatile: bool = False) -> Store:
    """The store that a URI names; nothing is touched or contacted yet (`Store.check` does).

    uri: a path, file:///path, s3://bucket/folder, gs://bucket/folder, http(s):// or webdav(s):// of a WebDAV server,
    or any other scheme that fsspec knows. options: passed to the file system (credentials, endpoint_url ...).
    volatile: allow memory://, which no other process sees. Raises StoreError(scheme).
    """
    from deepseek_runtime.checkpoint.local import LocalStore

    scheme = urlsplit(uri).scheme if "://" in uri else ""
    if not uri.strip():
        raise StoreError("scheme", "the storage URI is empty; use a folder, file:///folder or s3://bucket/folder")
    if scheme == "":
        if uri.startswith("file:"):
            raise StoreError("scheme", f"{uri!r} is not complete; write file:///absolute/folder")
        return LocalStore(uri)
    if scheme == "file":
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost"):
            raise StoreError(
                "scheme", f"{uri!r} names the host {parts.netloc!r}; a local folder is file:///{parts.netloc}..."
            )
        return LocalStore(unquote(parts.path))
    if scheme == "memory" and volatile:
        from deepseek_runtime.checkpoint.memory import MemoryStore

        return MemoryStore(uri)
    if scheme == "memory":
        raise StoreError(
            "scheme", "memory:// is lost with its process and no other sees it; use file:///folder or an object store"
        )
    from deepseek_runtime.checkpoint.remote import RemoteStore

    return RemoteStore.of(uri, options or {})


def retrying(
    call: Callable[[], T],
    *,
    wait: Callable[[float], object],
    tries: int = 5,
    first: float = 0.5,
    longest: float = 8.0,
    jitter: Callable[[], float] = random.random,
) -> T:
    """Calls again while the store is unreachable: `tries` times in all, waiting first, 2 x first ... seconds.

    Each wait is between half and all of that, so that many servers do not come back at one instant. `wait` is, for
    example, the wait of an Event, which ends early when the process is to end. Raises the last StoreError.
    """
    for attempt in range(1, tries + 1):
        try:
            return call()
        except StoreError as error:
            if error.kind != "unreachable" or attempt == tries:
                raise
        wait(min(longest, first * 2 ** (attempt - 1)) * (0.5 + 0.5 * jitter()))
    raise AssertionError("tries must be at least 1")
