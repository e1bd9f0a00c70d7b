"""Keys of a job, and who is let in (CURVE; ZAP, ZeroMQ RFC 27).

A job has two key pairs, one for its servers and one for its workers. A server admits only these two public keys; a
worker knows the servers' public key beforehand, so it talks to nobody else. ZAP's questions are answered by the
post's own thread, inside `receive`: there is no thread to start or to leak.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import zmq
from zmq.utils import z85

from deepseek_runtime.contract.names import ROLES, Role

ZAP_ADDRESS: Final = "inproc://zeromq.zap.01"
ZAP_DOMAIN: Final = b"deepseek"
_Z85_KEY: Final = 40
_LANES: Final = 4


class KeysError(Exception):
    """A key file is missing or is no key; the message is for people."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What one member needs, all keys in Z85 (40 ASCII bytes). allowed: public keys that a server lets in."""

    role: Role
    public: bytes
    secret: bytes
    server_public: bytes
    allowed: frozenset[bytes]

    def __repr__(self) -> str:
        return f"Keys(role={self.role!r}, public={self.public!r})"


def lanes(keys: Keys | None) -> int:
    """Connections of a worker with each server, and threads that encrypt at either end.

    One thread does less than 1 GB/s of Salsa20 and Poly1305, so one connection is slower than a link may be.
    """
    return 1 if keys is None else min(_LANES, len(os.sched_getaffinity(0)))


def make_job_keys(folder: str | Path) -> None:
    """Writes fresh key pairs of both roles: {server,worker}.{public,secret}, 0600, in a folder that is made 0700.

    Replaces older ones: keys change only when all members of a job do, since a bound socket keeps its own.
    """
    path = Path(folder)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    for role in ROLES:
        public, secret = zmq.curve_keypair()
        _write(path / f"{role}.public", public)
        _write(path / f"{role}.secret", secret)


def _write(path: Path, key: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key + b"\n")
    os.replace(temporary, path)


def load_keys(folder: str | Path, role: Role) -> Keys:
    """The keys of a member of this role. A worker's folder need not hold `server.secret`. Raises KeysError."""
    path = Path(folder)
    server = _read(path / "server.public")
    public = server if role == "server" else _read(path / "worker.public")
    secret = _read(path / f"{role}.secret")
    if zmq.curve_public(secret) != public:
        raise KeysError(f"{role}.secret and {role}.public in {path} are no pair: make the job's keys anew")
    allowed = frozenset({server, _read(path / "worker.public")}) if role == "server" else frozenset({server})
    return Keys(role, public, secret, server, allowed)


def _read(path: Path) -> bytes:
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise KeysError(f"cannot read the key file {path}: {error.strerror}") from error
    try:
        valid = len(key) == _Z85_KEY and len(z85.decode(key)) == 32
    except (ValueError, KeyError) as error:
        raise KeysError(f"{path} holds no key (40 characters of Z85)") from error
    if not valid:
        raise KeysError(f"{path} holds no key (40 characters of Z85)")
    return key


class Gate:
    """Answers ZAP's questions for the listening socket of one context. One thread."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", keys: Keys, refuse: Callable[[str], None]) -> None:
        self._keys = keys
        self._refuse = refuse
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.bind(ZAP_ADDRESS)

    def answer(self) -> None:
        """Answers what waits. The user id that ZeroMQ puts on each message of the connection is the key's role."""
        while True:
            try:
                sender, _, version, request, domain, _, _, mechanism, *credentials = self.socket.recv_multipart(
                    zmq.NOBLOCK
                )
            except zmq.Again:
                return
            role = ""
            if version == b"1.0" and domain == ZAP_DOMAIN and mechanism == b"CURVE" and len(credentials) == 1:
                role = self._role(credentials[0])
            if not role:
                self._refuse("stranger")
            status = [b"200", b"OK"] if role else [b"400", b"not a member of this job"]
            self.socket.send_multipart([sender, b"", b"1.0", request, *status, role.encode(), b""])

    def _role(self, key: bytes) -> str:
        text = z85.encode(key)
        if text not in self._keys.allowed:
            return ""
        return "server" if text == self._keys.server_public else "worker"
