"""A store on any file system that fsspec reaches: object stores, WebDAV servers, SFTP ...

An object store shows an upload when it is complete, so files are written under their own names. Any other server may
show half of one: there a file is uploaded under a temporary name and moved.
"""

import posixpath
import secrets
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Final, cast
from urllib.parse import unquote, urlsplit

from deepseek_runtime.checkpoint.failures import explained
from deepseek_runtime.checkpoint.local import UNFINISHED
from deepseek_runtime.checkpoint.store import EXTRAS, PIECE, Sink, Store, StoreError, checked

OBJECT_STORES: Final = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss"}
_WEBDAV: Final = {
    "http": "http",
    "https": "https",
    "webdav": "http",
    "webdavs": "https",
    "dav": "http",
    "davs": "https",
}
_SECONDS: Final = (5.0, 20.0, 20.0, 20.0)
"""To connect, to read, to write, to wait for a connection: how long a WebDAV server may stay silent. (Other file
systems of fsspec bring their own time-outs.)"""
_UPLOAD_PIECE: Final = 8 << 20
"""Bytes of one part of a multipart upload; at 10,000 parts a file may have 80 GB."""

Rename = Callable[[str, str, bool], None]
"""(from, to, overwrite); FileExistsError when `to` exists and may not be overwritten."""


class RemoteStore(Store):
    """fs: a file system of fsspec; root: the folder on it; rename: None for object stores."""

    def __init__(self, fs: Any, root: str, uri: str, rename: Rename | None) -> None:
        self.fs = fs
        self.root = root
        self.uri = uri
        self._rename = rename

    @classmethod
    def of(cls, uri: str, options: Mapping[str, Any]) -> "RemoteStore":
        """Raises StoreError(scheme)."""
        scheme = urlsplit(uri).scheme
        public = without_password(uri)
        try:
            if scheme in _WEBDAV:
                return cls._webdav(uri, public, options)
            from fsspec.core import url_to_fs

            defaults: dict[str, Any] = {"use_listings_cache": False} if scheme in OBJECT_STORES else {}
            fs, root = url_to_fs(uri, **{**defaults, **options, "skip_instance_cache": True})
        except ImportError as error:
            module, package = EXTRAS.get(scheme, (error.name or "a module", f"what provides {error.name or scheme}"))
            raise StoreError(
                "scheme", f"{scheme}:// needs {module}, which is not installed; pip install '{package}'"
            ) from error
        except ValueError as error:
            if "not known" not in str(error):
                raise StoreError("scheme", f"{public} cannot be used: {error}") from error
            raise StoreError(
                "scheme",
                f"{public}: unknown scheme {scheme!r}; use file:///folder, s3://bucket/folder, gs://bucket/folder, "
                "or https:// of a WebDAV server",
            ) from error
        except TypeError as error:
            raise StoreError("scheme", f"{public}: the storage options do not fit {scheme}://: {error}") from error
        return cls(fs, root.rstrip("/"), public, None if scheme in OBJECT_STORES else _mover(fs))

    @classmethod
    def _webdav(cls, uri: str, public: str, options: Mapping[str, Any]) -> "RemoteStore":
        from webdav4.client import ResourceAlreadyExists
        from webdav4.fsspec import WebdavFileSystem

        parts = urlsplit(uri)
        if not parts.hostname:
            raise StoreError("scheme", f"{public} names no host; write https://host/folder")
        chosen = {"timeout": _SECONDS, "retry": False, **options}  # whoever calls tries again
        if isinstance(chosen.get("auth"), list):  # from JSON
            chosen["auth"] = tuple(chosen["auth"])
        if isinstance(chosen.get("verify"), str):  # a file of certificates; httpx wants them read
            try:
                chosen["verify"] = ssl.create_default_context(cafile=chosen["verify"])
            except OSError as error:
                raise StoreError("scheme", f"{public}: the certificates {chosen['verify']}: {error}") from error
        if parts.username is not None and "auth" not in chosen:
            chosen["auth"] = (unquote(parts.username), unquote(parts.password or ""))
        host = parts.netloc.rpartition("@")[2]
        fs = WebdavFileSystem(f"{_WEBDAV[parts.scheme]}://{host}/", skip_instance_cache=True, **chosen)

        def rename(source: str, target: str, overwrite: bool) -> None:
            try:
                fs.client.move(source, target, overwrite=overwrite)
            except ResourceAlreadyExists as error:
                raise FileExistsError(target) from error

        return cls(fs, unquote(parts.path).strip("/"), public, rename)

    def put(self, path: str, data: bytes) -> None:
        with self._target(path, overwrite=True) as target, self._errors(path):
            self.fs.pipe_file(target, data)

    def create(self, path: str, data: bytes) -> bool:
        if self.exists(path):
            return False
        options = {"mode": "create"} if self._rename is None else {}
        try:
            with self._target(path, overwrite=False) as target, self._errors(path):
                self.fs.pipe_file(target, data, **options)
        except FileExistsError:
            return False
        return True

    @contextmanager
    def open_write(self, path: str) -> Iterator[Sink]:
        with self._target(path, overwrite=True) as target:
            with self._errors(path):
                file = self.fs.open(target, "wb", block_size=_UPLOAD_PIECE)
            try:
                yield _Guarded(file, self, path)
                with self._errors(path):
                    file.close()
            except BaseException:
                with suppress(Exception):
                    file.discard()
                with suppress(AttributeError):
                    file.closed = True  # or its finaliser would complete the upload
                raise

    @contextmanager
    def open_read(self, path: str) -> Iterator[BinaryIO]:
        with self._errors(path):
            file = self.fs.open(self._path(path), "rb", block_size=PIECE)
        try:
            yield cast(BinaryIO, _Guarded(file, self, path))
        finally:
            file.close()

    def get(self, path: str) -> bytes:
        with self._errors(path):
            return bytes(self.fs.cat_file(self._path(path)))

    def exists(self, path: str) -> bool:
        # not fs.exists, which takes any error for "no"
        with self._errors(path):
            self.fs.invalidate_cache()
            try:
                return bool(self.fs.info(self._path(path))["type"] == "file")
            except FileNotFoundError:
                return False

    def list(self, prefix: str = "", *, unfinished: bool = False) -> list[str]:
        top = self._path(prefix) if prefix else self.root
        with self._errors(prefix):
            self.fs.invalidate_cache()
            names = self.fs.find(top) if self._rename is None else _files_under(self.fs, top)
        start = len(self.root.strip("/")) + 1 if self.root.strip("/") else 0
        found = [name.strip("/")[start:] for name in names]
        return sorted(path for path in found if unfinished or UNFINISHED not in posixpath.basename(path))

    def delete_tree(self, prefix: str) -> None:
        with self._errors(prefix), suppress(FileNotFoundError):
            self.fs.invalidate_cache()
            self.fs.rm(self._path(prefix), recursive=True)

    def check(self) -> None:
        probe = f".writable{UNFINISHED}{secrets.token_hex(4)}"
        self.put(probe, b"ok")
        self.delete_tree(probe)

    def close(self) -> None:
        client = getattr(getattr(self.fs, "client", None), "http", None)  # webdav4's; others close their own
        if client is not None:
            client.close()

    def _path(self, path: str) -> str:
        return f"{self.root}/{checked(path)}" if self.root else checked(path)

    @contextmanager
    def _target(self, path: str, *, overwrite: bool) -> Iterator[str]:
        """A name to write to; when the block ends well, what was written stands under `path`."""
        target = self._path(path)
        if self._rename is None:
            yield target
            return
        temporary = f"{target}{UNFINISHED}{secrets.token_hex(4)}"
        parent = posixpath.dirname(target)
        if parent.strip("/"):
            with self._errors(path):
                self.fs.makedirs(parent, exist_ok=True)
        try:
            yield temporary
            with self._errors(path):
                self._rename(temporary, target, overwrite)
        except BaseException:
            with suppress(Exception):  # the error that led here is the one to tell
                self.fs.rm_file(temporary)
            raise

    @contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except (StoreError, FileExistsError):
            raise
        except Exception as error:  # each file system has exceptions of its own
            raise explained(error, f"{self.uri.rstrip('/')}/{path}") from error


def _files_under(fs: Any, folder: str) -> list[str]:
    """All files in a folder and its folders. (fsspec's own walk takes an error for an empty folder.)"""
    found: list[str] = []
    folders = [folder]
    while folders:
        try:
            entries = fs.ls(folders.pop(), detail=True)
        except FileNotFoundError:  # no such folder, or deleted by another server meanwhile
            continue
        found += [entry["name"] for entry in entries if entry["type"] != "directory"]
        folders += [entry["name"] for entry in entries if entry["type"] == "directory"]
    return found


class _Guarded:
    """An open file whose own errors, and only these, become StoreErrors."""

    def __init__(self, file: Any, store: RemoteStore, path: str) -> None:
        self._file = file
        self._store = store
        self._path = path

    def write(self, data: memoryview | bytes, /) -> object:
        with self._store._errors(self._path):
            return self._file.write(data)

    def read(self, size: int = -1, /) -> bytes:
        with self._store._errors(self._path):
            return bytes(self._file.read(size))


def without_password(uri: str) -> str:
    """The URI as it may be shown and logged."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _mover(fs: Any) -> Rename:
    def rename(source: str, target: str, overwrite: bool) -> None:
        if not overwrite and fs.exists(target):
            raise FileExistsError(target)
        fs.mv(source, target)

    return rename
