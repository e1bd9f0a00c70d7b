"""The installation's own keys and certificates: made once, renewed in place, kept in Secrets that the chart owns.

    python -m deepseek_operator.credentials --namespace NS --ca NAME --folder FOLDER
        [--etcd NAME --etcd-host HOST ...] [--store NAME --store-host HOST ...] [--store-key NAME]

The operator's pod runs this before the operator itself. The chart makes each Secret empty (an upgrade of the chart
leaves what others put there); pods that mount one wait until its keys are there. What the operator needs is written
into FOLDER: ca.crt, ca.key, tls.crt and tls.key (etcd's administrator, CN root), store.key. What was asked for is kept
there too, so that the operator can look after it while it runs (`renew`).
"""

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography import x509

from deepseek_operator.certificates import Authority, CertificateError, Pair, renewal_due, years
from deepseek_operator.kube import SECRETS, Api, ApiError, Conflict, NoCluster, Object, Resource, find_cluster
from deepseek_operator.kube.secret_data import decoded, encoded

ADMINISTRATOR: Final = "root"
"""Whom etcd, once it asks who one is, lets do everything."""
_AUTHORITY_YEARS: Final = 20
_YEARS: Final = 1
_TRIES: Final = 8
_PATIENCE: Final = 60.0
"""Seconds for which an API server that does not answer is asked again."""
_ASKED: Final = "asked.json"


class CredentialsError(Exception):
    """They cannot be made; the message is for people."""


class Secrets(Protocol):
    """The part of kube.Api that is needed."""

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None: ...

    def apply(self, resource: Resource, namespace: str | None, manifest: Object) -> Object: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """Names of Secrets, and the DNS names and addresses under which a server is reached; None: there is none."""

    authority: str
    etcd: str | None = None
    etcd_hosts: tuple[str, ...] = ()
    store: str | None = None
    store_hosts: tuple[str, ...] = ()
    store_key: str | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    authority: Authority
    store_key: bytes | None


def ensure(api: Secrets, namespace: str, wanted: Wanted, now: datetime) -> Credentials:
    """Makes what is missing and renews what is due or was made for other names; several replicas may do so at once.

    An authority that is there is never replaced: everything was signed by it. Raises CredentialsError, ApiError.
    """

    def make_authority() -> dict[str, bytes]:
        made = Authority.new("deepseek-operator", years(_AUTHORITY_YEARS), now=now)
        return {"ca.crt": made.pair.certificate, "ca.key": made.pair.key}

    held = _fill(api, namespace, wanted.authority, lambda data: "ca.key" in data, make_authority)
    try:
        authority = Authority(Pair(held.get("ca.crt", b""), held["ca.key"]))
    except CertificateError as error:
        raise CredentialsError(
            f"Secret {namespace}/{wanted.authority} holds no authority ({error}): empty it, and everything is made anew"
        ) from error
    for name, hosts in ((wanted.etcd, wanted.etcd_hosts), (wanted.store, wanted.store_hosts)):
        if name is not None:
            _fill(api, namespace, name, _fits(authority, hosts, now), _server(authority, name, hosts, now))
    key = None
    if wanted.store_key is not None:
        found = _fill(
            api,
            namespace,
            wanted.store_key,
            lambda data: len(data.get("key", b"")) >= 16,
            lambda: {"key": secrets.token_hex(32).encode()},
        )
        key = found["key"]
    return Credentials(authority, key)


def write(credentials: Credentials, folder: Path, now: datetime) -> None:
    """The operator's own files, readable by its user alone. Raises CredentialsError."""
    admin = credentials.authority.client(ADMINISTRATOR, years(_YEARS), now=now)
    files = {
        "ca.crt": credentials.authority.certificate,
        "ca.key": credentials.authority.pair.key,
        "tls.crt": admin.certificate,
        "tls.key": admin.key,
    }
    if credentials.store_key is not None:
        files["store.key"] = credentials.store_key
    _write(folder, files)


def note(folder: Path, namespace: str, wanted: Wanted) -> None:
    """For `renew`. Raises CredentialsError."""
    _write(folder, {_ASKED: json.dumps({"namespace": namespace, "wanted": asdict(wanted)}).encode()})


def renew(api: Secrets, folder: Path, now: datetime) -> None:
    """What `note` has in this folder is ensured again, and the operator's own certificate made anew.

    Raises CredentialsError, ApiError.
    """
    try:
        asked = json.loads((folder / _ASKED).read_bytes())
        namespace = str(asked["namespace"])
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in asked["wanted"].items()
        }
        wanted = Wanted(**given)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CredentialsError(f"{folder / _ASKED} does not say what was asked for: {error}") from error
    write(ensure(api, namespace, wanted, now), folder, now)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            part = folder / f".{name}.new"
            part.touch(0o600)
            part.write_bytes(content)
            part.replace(folder / name)
    except OSError as error:
        raise CredentialsError(f"{folder} cannot be written: {error.strerror}") from error


def _fill(
    api: Secrets,
    namespace: str,
    name: str,
    good: Callable[[Mapping[str, bytes]], bool],
    make: Callable[[], dict[str, bytes]],
) -> Mapping[str, bytes]:
    for _ in range(_TRIES):
        secret = api.get(SECRETS, namespace, name)
        if secret is None:
            raise CredentialsError(f"there is no Secret {namespace}/{name}: the chart makes it, empty")
        data = decoded(secret)
        if good(data):
            return data
        made = make()
        metadata = {"name": name, "resourceVersion": secret["metadata"]["resourceVersion"]}
        try:
            api.apply(SECRETS, namespace, {"metadata": metadata, "data": encoded(made)})
        except Conflict:  # another replica was faster: what it made is as good
            continue
        return made
    raise CredentialsError(f"Secret {namespace}/{name} is changed by somebody else all the time")


def _server(authority: Authority, name: str, hosts: Sequence[str], now: datetime) -> Callable[[], dict[str, bytes]]:
    def make() -> dict[str, bytes]:
        pair = authority.server(name, hosts, years(_YEARS), now=now)
        return {"ca.crt": authority.certificate, "tls.crt": pair.certificate, "tls.key": pair.key}

    return make


def _fits(authority: Authority, hosts: Sequence[str], now: datetime) -> Callable[[Mapping[str, bytes]], bool]:
    def good(data: Mapping[str, bytes]) -> bool:
        try:
            return (
                data.get("ca.crt") == authority.certificate
                and "tls.key" in data
                and not renewal_due(data.get("tls.crt", b""), now)
                and set(hosts) <= _names(data["tls.crt"])
            )
        except CertificateError:
            return False

    return good


def _names(certificate: bytes) -> set[str]:
    found = x509.load_pem_x509_certificate(certificate).extensions
    try:
        names = found.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}


def _patiently(api: Secrets, namespace: str, wanted: Wanted) -> Credentials:
    ends, wait = time.monotonic() + _PATIENCE, 0.5
    while True:
        try:
            return ensure(api, namespace, wanted, datetime.now(UTC))
        except ApiError:
            if time.monotonic() + wait > ends:
                raise
        time.sleep(wait)
        wait = min(5.0, 2 * wait)


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    wanted = Wanted(given.ca, given.etcd, tuple(given.etcd_host), given.store, tuple(given.store_host), given.store_key)
    try:
        api = Api(find_cluster())
        write(_patiently(api, given.namespace, wanted), given.folder, datetime.now(UTC))
        note(given.folder, given.namespace, wanted)
    except (CredentialsError, ApiError, NoCluster) as error:
        sys.stderr.write(f"credentials: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deepseek_operator.credentials", description=__doc__)
    parser.add_argument("--namespace", default=os.environ.get("DSJ_OPERATOR_NAMESPACE", ""), help="where they are kept")
    parser.add_argument("--ca", required=True, help="Secret of the authority")
    parser.add_argument("--etcd", help="Secret of etcd's certificate")
    parser.add_argument("--etcd-host", action="append", default=[], help="a name or address of etcd")
    parser.add_argument("--store", help="Secret of the store's certificate")
    parser.add_argument("--store-host", action="append", default=[], help="a name or address of the store")
    parser.add_argument("--store-key", help="Secret of the key from which the store's passwords are made")
    parser.add_argument("--folder", type=Path, required=True, help="where the operator finds its own")
    return parser


if __name__ == "__main__":
    sys.exit(main())
