"""The cluster's certificate authority, what it signs, and kubeconfigs made of it. Made anew for each cluster."""

import base64
import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID: Final = datetime.timedelta(days=365)
ADMINS: Final = "system:masters"
"""The group that may do everything."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of a certificate and its key (PEM)."""

    certificate: Path
    key: Path


class Authority:
    """A new CA, its files in `folder` (as are those of all that it issues)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test cluster")])
        certificate = (
            _unsigned(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.pair = self._write("ca", certificate, self._key)

    @property
    def certificate(self) -> Path:
        return self.pair.certificate

    def issue(self, name: str, *, user: str, group: str = "", hosts: tuple[str, ...] = ()) -> Pair:
        """A pair in files `name`: for the client `user` of `group`, and for the server at `hosts` if there are any."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        if group:
            attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        request = _unsigned(x509.Name(attributes), self._name, key.public_key()).add_extension(
            x509.ExtendedKeyUsage(usages), critical=False
        )
        if hosts:
            request = request.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        return self._write(name, request.sign(self._key, hashes.SHA256()), key)

    def signing_key(self, name: str) -> Path:
        """A private key in the file `name`.key, as the API server signs tokens with."""
        return _write_key(self._folder / f"{name}.key", ec.generate_private_key(ec.SECP256R1()))

    def kubeconfig(self, file: Path, server: str, pair: Pair) -> Path:
        """Writes a kubeconfig (0600) that holds all it needs."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "test", "cluster": {"server": server, "certificate-authority-data": _read(self.certificate)}}
            ],
            "users": [
                {
                    "name": "test",
                    "user": {
                        "client-certificate-data": _read(pair.certificate),
                        "client-key-data": _read(pair.key),
                    },
                }
            ],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        return _write_private(file, yaml.safe_dump(content).encode())

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
        file = self._folder / f"{name}.crt"
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return Pair(file, _write_key(self._folder / f"{name}.key", key))


def _unsigned(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + VALID)
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return _write_private(file, encoded)


def _write_private(file: Path, content: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(content)
    return file


def _read(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
