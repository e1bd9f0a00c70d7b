"""A certificate authority of our own: it signs servers (by names and addresses) and clients (by CN), all in PEM.

    authority = Authority.new("etcd of digits", years(10))
    server = authority.server("etcd", ["127.0.0.1", "localhost"], years(10))
    client = authority.client(uid, years(10))          # CN = the job's uid: whom etcd takes it for

ECDSA on P-256, which every TLS library takes; X.509 v3 with the key identifiers and usages that Python 3.13, Go and
BoringSSL ask for (RFC 5280, 4.2.1). An authority signs members, never other authorities. Certificates begin an hour
before they are made, for machines whose clocks differ.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLOCKS_DIFFER: Final = timedelta(hours=1)
MAX_NAME: Final = 64
"""Characters of a common name (X.520)."""


class CertificateError(Exception):
    """What was given as a certificate or key is none, or they are no pair; the message is for people."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, PEM (the key PKCS#8, not encrypted)."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Pair(...)"


def years(count: int) -> timedelta:
    return timedelta(days=365 * count)


class Authority:
    """Signs for whoever trusts its certificate. `pair` is what to keep of it; forgotten, nobody can sign any more."""

    def __init__(self, pair: Pair) -> None:
        """Raises CertificateError when `pair` is no authority's."""
        self.pair = pair
        self._certificate = _certificate(pair.certificate)
        self._key = _key(pair.key)
        if self._certificate.public_key() != self._key.public_key():
            raise CertificateError("the authority's certificate and key are no pair")
        try:
            authority = self._certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            authority = False
        if not authority:
            raise CertificateError(f"the certificate of {_common_name(self._certificate)!r} is not an authority's")

    @classmethod
    def new(cls, name: str, lifetime: timedelta, *, now: datetime | None = None) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key()
        certificate = (
            _builder(name, public, lifetime, now)
            .issuer_name(_name(name))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(_pair(certificate, key))

    @property
    def certificate(self) -> bytes:
        """What those who are to trust it are given."""
        return self.pair.certificate

    def server(self, name: str, hosts: Sequence[str], lifetime: timedelta, *, now: datetime | None = None) -> Pair:
        """For who listens at `hosts` (DNS names, also *.x, and IP addresses): clients refuse it under any other.

        Also good for dialling, as members of one cluster dial each other.
        """
        if not hosts:
            raise ValueError("a server's certificate needs at least one name or address")
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return self._sign(name, both, x509.SubjectAlternativeName([_host(host) for host in hosts]), lifetime, now)

    def client(self, name: str, lifetime: timedelta, *, now: datetime | None = None) -> Pair:
        """For who dials; `name` is whom the server takes it for (CN)."""
        return self._sign(name, [ExtendedKeyUsageOID.CLIENT_AUTH], None, lifetime, now)

    def _sign(
        self,
        name: str,
        uses: list[x509.ObjectIdentifier],
        hosts: x509.SubjectAlternativeName | None,
        lifetime: timedelta,
        now: datetime | None,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key()
        issuer = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = (
            _builder(name, public, lifetime, now)
            .issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
        )
        if hosts is not None:
            builder = builder.add_extension(hosts, critical=False)
        return _pair(builder.sign(self._key, hashes.SHA256()), key)


def renewal_due(certificate: bytes, now: datetime) -> bool:
    """Whether two thirds of its life are over: early enough to try again for a third. Raises CertificateError."""
    found = _certificate(certificate)
    begin, end = found.not_valid_before_utc, found.not_valid_after_utc
    return now >= begin + (end - begin) * 2 / 3


def _builder(
    name: str, public: ec.EllipticCurvePublicKey, lifetime: timedelta, now: datetime | None
) -> x509.CertificateBuilder:
    now = now or datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + lifetime)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(name: str) -> x509.Name:
    if not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"a common name has 1 to {MAX_NAME} characters, not {len(name)}: {name!r}")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _common_name(certificate: x509.Certificate) -> str:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise CertificateError("this is no certificate in PEM") from error


def _key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise CertificateError("this is no private key in PEM, or it is encrypted") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError("this is no key on an elliptic curve, as the authority's own are")
    return key
