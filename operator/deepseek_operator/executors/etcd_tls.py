"""Certificates of the etcd of one machine: made with the job, in its folder of keys (0700), for nobody else to read.

    ca.crt            the job's own authority; its key is forgotten as soon as these are signed
    tls.crt tls.key   the job's members and supervisor; the CN is the job's uid
    etcd.crt etcd.key etcd's own, for 127.0.0.1 and localhost

Without one of these nobody speaks to etcd, and whoever takes its port while it is away is not taken for it. They
change when all members do, as the CURVE keys beside them.
"""

import os
import ssl
from pathlib import Path
from typing import Final, NamedTuple

from deepseek_operator.executors.files import replace_file
from deepseek_runtime.contract.config import EtcdTls

LIFE_YEARS: Final = 10
HOSTS: Final = ("127.0.0.1", "localhost")
SERVER_NAME: Final = "etcd"


class EtcdFiles(NamedTuple):
    """Paths; `ca` also vouches for clients."""

    ca: Path
    certificate: Path
    key: Path
    client_certificate: Path
    client_key: Path

    @classmethod
    def in_folder(cls, folder: Path) -> "EtcdFiles":
        names = EtcdTls()
        return cls(
            folder / names.ca, folder / "etcd.crt", folder / "etcd.key", folder / names.certificate, folder / names.key
        )


def make(folder: Path, uid: str) -> None:
    """Writes all of them anew. Raises OSError."""
    from deepseek_operator.certificates import Authority, years  # takes 0.1 s, which an adopted etcd need not

    authority = Authority.new("etcd of a job on one machine", years(LIFE_YEARS))
    server = authority.server(SERVER_NAME, HOSTS, years(LIFE_YEARS))
    client = authority.client(uid, years(LIFE_YEARS))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    files = EtcdFiles.in_folder(folder)
    for path, content in (
        (files.ca, authority.certificate),
        (files.certificate, server.certificate),
        (files.key, server.key),
        (files.client_certificate, client.certificate),
        (files.client_key, client.key),
    ):
        replace_file(path, content)


def client_context(files: EtcdFiles) -> ssl.SSLContext:
    """For one who asks etcd over HTTPS. Raises OSError (ssl.SSLError is one) when a file is missing or wrong."""
    context = ssl.create_default_context(cafile=os.fspath(files.ca))
    context.load_cert_chain(files.client_certificate, files.client_key)
    return context


def arguments(files: EtcdFiles) -> list[str]:
    """Of etcd: TLS for clients and peers, each with a certificate of the job's authority.

    It has no peers, and as one it would take only its own certificate. The gateway from JSON would speak to etcd as
    etcd itself.
    """
    return [
        f"--cert-file={files.certificate}",
        f"--key-file={files.key}",
        "--client-cert-auth",
        f"--trusted-ca-file={files.ca}",
        f"--peer-cert-file={files.certificate}",
        f"--peer-key-file={files.key}",
        "--peer-client-cert-auth",
        f"--peer-trusted-ca-file={files.ca}",
        f"--peer-cert-allowed-cn={SERVER_NAME}",
        "--enable-grpc-gateway=false",
    ]
