"""The chart's own store: a WebDAV server on one folder, for jobs that name no storage.

    python -m deepseek_runtime.store_server --folder /data --key /etc/dsj/store/key --tls /etc/dsj/tls

A user is a job, called NAMESPACE.JOB.UID; its password is derived from the key (contract/store.py), so nothing is kept
about users. Each has the folder /NAMESPACE/JOB/UID to itself, and may read what jobs of its namespace have stored, so
that it can begin from that. The user `admin` (password by the same rule) may do everything.
What is stored can be listed and removed in the store's pod: python -m deepseek_runtime.stored_jobs.
GET /healthz needs no user: 200 while files can be written, 503 when they cannot.
"""

import argparse
import base64
import binascii
import hmac
import logging
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from deepseek_runtime.contract.store import job_folder, password_of

_log = logging.getLogger(__name__)

ADMIN: Final = "admin"
PORT: Final = 8443
THREADS: Final = 16
TIMEOUT: Final = 30
"""Seconds that a client may stay silent in the middle of a request."""
READING: Final = frozenset({"GET", "HEAD", "OPTIONS", "PROPFIND"})
"""Methods that change nothing. Every other one is taken for one that does."""
_JOB: Final = re.compile(r"([a-z0-9-]{1,63})\.([a-z0-9][a-z0-9.-]{0,252})\.([A-Za-z0-9][A-Za-z0-9-]{7,63})")
_RENEWED: Final = 60.0
"""Seconds between looks at the certificate."""

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]


class StoreServerError(Exception):
    """It cannot be started; the message is for people."""


def home_of(user: str) -> str | None:
    """The folder of a job, without slashes around it; `""`, all of them, of admin; None: that is nobody's name."""
    if user == ADMIN:
        return ""
    job = _JOB.fullmatch(user)
    return None if job is None else job_folder(*job.groups())


def may(home: str, path: str, *, write: bool) -> bool:
    """Whether the user with that home may do so. path: as HTTP has it, decoded."""
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") or "\\" in part or "\0" in part for part in parts):
        return False
    own = home.split("/") if home else []
    within = own if write else own[:1]
    return parts[: len(within)] == within


class Guard:
    """Lets a request through when its user may see what it names; everything else ends here."""

    def __init__(self, app: App, folder: Path, key: bytes) -> None:
        self._app = app
        self._folder = folder
        self._key = key

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", "/")).encode("latin-1").decode("utf-8", "replace")  # PEP 3333
        if path == "/healthz":
            return self._health(start_response)
        user = self._user(str(environ.get("HTTP_AUTHORIZATION", "")))
        home = None if user is None else home_of(user)
        if home is None:
            return _answer(
                start_response, "401 Unauthorized", "who are you?", ("WWW-Authenticate", 'Basic realm="store"')
            )
        write = str(environ.get("REQUEST_METHOD", "")).upper() not in READING
        target = environ.get("HTTP_DESTINATION")
        if not may(home, path, write=write) or (
            target and not may(home, unquote(urlsplit(str(target)).path), write=True)
        ):
            return _answer(start_response, "403 Forbidden", f"{user} has no rights here")
        if home:
            try:
                (self._folder / home).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                return _answer(start_response, "507 Insufficient Storage", f"no folder can be made: {error.strerror}")
        return self._app(environ, start_response)

    def _user(self, header: str) -> str | None:
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, _, given = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if home_of(user) is None:
            return None
        return user if hmac.compare_digest(given.encode(), password_of(self._key, user).encode()) else None

    def _health(self, start_response: StartResponse) -> Iterable[bytes]:
        if not os.access(self._folder, os.W_OK | os.X_OK):
            return _answer(start_response, "503 Service Unavailable", "the folder cannot be written")
        return _answer(start_response, "200 OK", f"{shutil.disk_usage(self._folder).free} bytes free")


def _answer(start_response: StartResponse, status: str, text: str, *headers: tuple[str, str]) -> Iterable[bytes]:
    body = text.encode() + b"\n"
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *headers])
    return [body]


def make_server(folder: Path, key: bytes, address: tuple[str, int], tls: Path | None = None) -> Any:
    """A cheroot server, prepared (so that its `bind_addr` has the port) and not yet serving.

    key: of the users' passwords, at least 16 bytes; tls: a folder with tls.crt and tls.key; None: in the clear.
    Raises StoreServerError.
    """
    try:
        from cheroot import wsgi
        from cheroot.ssl.builtin import BuiltinSSLAdapter
        from wsgidav.wsgidav_app import WsgiDAVApp
    except ImportError as error:
        raise StoreServerError(f"{error.name} is not installed: pip install 'deepseek-operator[store]'") from error
    if len(key) < 16:
        raise StoreServerError("the key is shorter than 16 bytes: nobody's passwords would be safe")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreServerError(f"{folder} cannot be made: {error.strerror}") from error
    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(folder)},
            "simple_dc": {"user_mapping": {"*": True}},  # the guard has asked already
            "http_authenticator": {"accept_basic": False, "accept_digest": False, "default_to_digest": False},
            "dir_browser": {"enable": False},
            "suppress_version_info": True,
            "verbose": 0,
            "logging": {"enable": False},
            "lock_storage": False,
            "property_manager": False,
        }
    )
    server = wsgi.Server(address, Guard(app, folder, key), numthreads=THREADS, timeout=TIMEOUT)
    if tls is not None:
        try:
            server.ssl_adapter = BuiltinSSLAdapter(str(tls / "tls.crt"), str(tls / "tls.key"))
        except OSError as error:  # ssl.SSLError is one
            raise StoreServerError(f"the certificate in {tls} cannot be used: {error}") from error
    try:
        server.prepare()
    except OSError as error:
        raise StoreServerError(f"cannot listen at {address[0]}:{address[1]}: {error}") from error
    return server


def _renew(server: Any, tls: Path, ended: threading.Event) -> None:
    """New connections see the certificate that lies in `tls` now."""
    seen = _stamp(tls)
    while not ended.wait(_RENEWED):
        now = _stamp(tls)
        if now == seen:
            continue
        try:
            server.ssl_adapter.context.load_cert_chain(str(tls / "tls.crt"), str(tls / "tls.key"))
        except OSError as error:
            _log.warning("the new certificate in %s cannot be used, the old one stays: %s", tls, error)
            continue
        seen = now
        _log.info("the certificate in %s was renewed", tls)


def _stamp(tls: Path) -> tuple[int, ...]:
    try:
        return tuple((tls / name).stat().st_mtime_ns for name in ("tls.crt", "tls.key"))
    except OSError:  # between two versions of the volume
        return ()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deepseek_runtime.store_server", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="what is served")
    parser.add_argument("--key", type=Path, required=True, help="file with the key of the users' passwords")
    parser.add_argument("--tls", type=Path, help="folder with tls.crt and tls.key; without it: in the clear")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=PORT, help="0: a free one, which is printed")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("wsgidav").setLevel(logging.WARNING)
    try:
        key = given.key.read_bytes()
    except OSError as error:
        sys.stderr.write(f"store: the key {given.key} cannot be read: {error.strerror}\n")
        return 66
    try:
        server = make_server(given.folder, key, (given.host, given.port), given.tls)
    except StoreServerError as error:
        sys.stderr.write(f"store: {error}\n")
        return 78
    ended = threading.Event()

    def end(signum: int, frame: object) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    threading.Thread(target=server.serve, daemon=True).start()
    if given.tls is not None:
        threading.Thread(target=_renew, args=(server, given.tls, ended), daemon=True).start()
    scheme = "http" if given.tls is None else "https"
    sys.stdout.write(f"{scheme}://{server.bind_addr[0]}:{server.bind_addr[1]}\n")
    sys.stdout.flush()
    ended.wait()
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
