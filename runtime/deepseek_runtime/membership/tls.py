"""Certificates for talking to etcd: files that are renewed in place, so they are read anew for each connection."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from deepseek_runtime.contract.config import EtcdTls

_TRIES = 5
"""Readings until one was not disturbed by a renewal; more than one renewal in a moment does not happen."""


class TlsError(Exception):
    """A certificate or key cannot be read; the message is for people."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM: the authority that signed etcd's certificate, one's own certificate, and its key."""

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def of(cls, tls: EtcdTls | None, folder: str | Path) -> "TlsFiles | None":
        """As the config document names them, relative to the folder of keys; None: etcd is spoken to in the clear."""
        if tls is None:
            return None
        base = Path(folder)
        return cls(base / tls.ca, base / tls.certificate, base / tls.key)

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Another one when any of the files has been replaced. Raises TlsError."""
        try:
            found = [file.stat() for file in (self.ca, self.certificate, self.key)]
        except OSError as error:
            raise _unreadable(error) from error
        return tuple((one.st_mtime_ns, one.st_ino) for one in found)

    def read(self) -> tuple[bytes, bytes, bytes]:
        """All three, of one renewal: a new certificate does not fit an old key. Raises TlsError."""
        before = self.stamp()
        for _ in range(_TRIES):
            try:
                content = self.ca.read_bytes(), self.certificate.read_bytes(), self.key.read_bytes()
            except OSError as error:
                raise _unreadable(error) from error
            after = self.stamp()
            if after == before:
                return content
            before = after
        raise TlsError(f"{self.certificate} and its key change all the time")

    def credentials(self) -> Any:
        """grpc's, with what the files hold now. Raises TlsError."""
        ca, certificate, key = self.read()
        return grpc.ssl_channel_credentials(ca, key, certificate)


def _unreadable(error: OSError) -> TlsError:
    return TlsError(f"cannot read {error.filename}: {error.strerror}")
