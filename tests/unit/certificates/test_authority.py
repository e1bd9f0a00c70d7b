"""Certificates as a TLS handshake judges them: Python's own ssl on both ends, in memory."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from deepseek_operator.certificates import Authority, CertificateError, Pair, renewal_due, years

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new("authority of tests", years(1))


def context(folder: Path, purpose: ssl.Purpose, trusted: bytes, own: Pair | None) -> ssl.SSLContext:
    made = ssl.create_default_context(purpose, cadata=trusted.decode())
    made.verify_flags |= ssl.VERIFY_X509_STRICT  # Python's own choice from 3.13 on
    made.verify_mode = ssl.CERT_REQUIRED
    if own is not None:
        file = folder / "own.pem"
        file.write_bytes(own.certificate + own.key)
        made.load_cert_chain(file)
    return made


def handshake(folder: Path, trusted: bytes, server: Pair, client: Pair | None, host: str = "127.0.0.1") -> str:
    """Whom the server takes the client for; raises ssl.SSLError when either end refuses the other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = context(folder, ssl.Purpose.SERVER_AUTH, trusted, client).wrap_bio(
        to_client, to_server, server_hostname=host
    )
    far = context(folder, ssl.Purpose.CLIENT_AUTH, trusted, server).wrap_bio(to_server, to_client, server_side=True)
    done: set[int] = set()
    for _ in range(6):
        for number, end in enumerate((near, far)):
            try:
                end.do_handshake()
                done.add(number)
            except ssl.SSLWantReadError:
                continue
    assert done == {0, 1}
    found = far.getpeercert()
    assert found is not None
    subject: tuple[tuple[tuple[str, str], ...], ...] = found["subject"]  # type: ignore[assignment]
    return dict(part[0] for part in subject)["commonName"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "etcd.example", "a.pods.example"])
def test_both_ends_take_each_other(authority: Authority, tmp_path: Path, host: str) -> None:
    server = authority.server("etcd", ["127.0.0.1", "::1", "etcd.example", "*.pods.example"], years(1))
    client = authority.client("uid-1", years(1))
    assert handshake(tmp_path, authority.certificate, server, client, host) == "uid-1"


Given = Callable[[Authority], tuple[Pair, Pair | None]]
HOST = ["127.0.0.1"]
REFUSED: dict[str, tuple[Given, str]] = {
    "no client certificate": (lambda a: (a.server("s", HOST, years(1)), None), "peer did not return a certificate"),
    "another authority's client": (
        lambda a: (a.server("s", HOST, years(1)), Authority.new("authority of tests", years(1)).client("u", years(1))),
        "certificate verify failed",
    ),
    "a client as the server": (lambda a: (a.client("u", years(1)), a.client("u", years(1))), "purpose"),
    "another host": (
        lambda a: (a.server("s", ["127.0.0.2"], years(1)), a.client("u", years(1))),
        "IP address mismatch",
    ),
    "ended": (
        lambda a: (a.server("s", HOST, years(1), now=NOW - years(2)), a.client("u", years(1))),
        "certificate has expired",
    ),
    "not begun": (
        lambda a: (a.server("s", HOST, years(1), now=NOW + timedelta(hours=2)), a.client("u", years(1))),
        "not yet valid",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(authority: Authority, tmp_path: Path, name: str) -> None:
    given, message = REFUSED[name]
    server, client = given(authority)
    with pytest.raises(ssl.SSLError, match=f"(?i){message}"):
        handshake(tmp_path, authority.certificate, server, client)


def test_a_clock_that_is_late_is_no_matter(authority: Authority, tmp_path: Path) -> None:
    ahead = NOW + timedelta(minutes=50)
    server, client = authority.server("s", HOST, years(1), now=ahead), authority.client("u", years(1), now=ahead)
    assert handshake(tmp_path, authority.certificate, server, client) == "u"


def test_kept_and_read_again_it_signs_for_those_who_trust_it(authority: Authority, tmp_path: Path) -> None:
    again = Authority(Pair(authority.pair.certificate, authority.pair.key))
    server, client = authority.server("s", HOST, years(1)), again.client("u", years(1))
    assert handshake(tmp_path, authority.certificate, server, client) == "u"


def test_what_is_no_authority_is_refused(authority: Authority) -> None:
    client, other = authority.client("u", years(1)), Authority.new("other", years(1))
    for pair, message in (
        (client, "the certificate of 'u' is not an authority's"),
        (Pair(authority.certificate, other.pair.key), "no pair"),
        (Pair(b"hello", other.pair.key), "no certificate in PEM"),
        (Pair(authority.certificate, b"hello"), "no private key in PEM"),
    ):
        with pytest.raises(CertificateError, match=message):
            Authority(pair)


def test_a_member_cannot_sign_others(authority: Authority) -> None:
    for pair in (authority.client("u", years(1)), authority.server("s", HOST, years(1))):
        found = x509.load_pem_x509_certificate(pair.certificate).extensions
        assert not found.get_extension_for_class(x509.BasicConstraints).value.ca
        assert not found.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


@pytest.mark.parametrize("days, due", [(0, False), (59, False), (61, True), (100, True)])
def test_renewal_is_due_after_two_thirds(authority: Authority, days: int, due: bool) -> None:
    client = authority.client("u", timedelta(days=90), now=NOW)
    assert renewal_due(client.certificate, NOW + timedelta(days=days)) is due


def test_the_key_is_in_no_repr(authority: Authority) -> None:
    assert "PRIVATE" not in repr(authority.pair)


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_a_name_has_its_bounds(authority: Authority, name: str) -> None:
    with pytest.raises(ValueError, match="1 to 64 characters"):
        authority.client(name, years(1))
