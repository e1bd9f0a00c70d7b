"""Keys and certificates of an installation: made once, renewed in place, the same for all replicas."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from deepseek_operator.certificates import CertificateError, renewal_due
from deepseek_operator.credentials import CredentialsError, Wanted, ensure, note, renew, write
from deepseek_operator.kube import Conflict, Object, Resource

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOSTS = ("dsj-etcd.dsj.svc", "127.0.0.1")
WANTED = Wanted("dsj-ca", "dsj-etcd-tls", HOSTS, "dsj-store-tls", ("dsj-store.dsj.svc",), "dsj-store-key")


class FakeSecrets:
    """The API server's Secrets; `rival`: somebody who writes just before us, once."""

    def __init__(self, *names: str, rival: dict[str, dict[str, str]] | None = None) -> None:
        self.versions = dict.fromkeys(names, 1)
        self.data: dict[str, dict[str, str]] = {name: {} for name in names}
        self.rival = rival or {}
        self.writes: list[str] = []

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        if name not in self.data:
            return None
        version = str(self.versions[name])
        return {"metadata": {"name": name, "resourceVersion": version}, "data": dict(self.data[name])}

    def apply(self, resource: Resource, namespace: str | None, manifest: Object) -> Object:
        name = manifest["metadata"]["name"]
        if name in self.rival:
            self.data[name] = self.rival.pop(name)
            self.versions[name] += 1
        if manifest["metadata"]["resourceVersion"] != str(self.versions[name]):
            raise Conflict("changed")
        self.data[name] = manifest["data"]
        self.versions[name] += 1
        self.writes.append(name)
        return manifest

    def read(self, name: str, key: str) -> bytes:
        return base64.b64decode(self.data[name][key])


def empty() -> FakeSecrets:
    return FakeSecrets("dsj-ca", "dsj-etcd-tls", "dsj-store-tls", "dsj-store-key")


def names_in(pem: bytes) -> list[str]:
    found = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [*found.value.get_values_for_type(x509.DNSName), *map(str, found.value.get_values_for_type(x509.IPAddress))]


def test_made_once() -> None:
    api = empty()
    made = ensure(api, "dsj", WANTED, NOW)
    assert sorted(api.writes) == sorted(api.data)
    assert names_in(api.read("dsj-etcd-tls", "tls.crt")) == list(HOSTS)
    assert api.read("dsj-store-tls", "ca.crt") == api.read("dsj-ca", "ca.crt") == made.authority.certificate
    assert made.store_key == api.read("dsj-store-key", "key")
    assert made.store_key is not None and len(made.store_key) == 64
    api.writes.clear()
    again = ensure(api, "dsj", WANTED, NOW + timedelta(days=100))
    assert api.writes == []
    assert again.authority.pair == made.authority.pair
    assert again.store_key == made.store_key


def test_servers_are_renewed_in_time_the_authority_and_the_key_stay() -> None:
    api = empty()
    made = ensure(api, "dsj", WANTED, NOW)
    api.writes.clear()
    ensure(api, "dsj", WANTED, NOW + timedelta(days=300))
    assert sorted(api.writes) == ["dsj-etcd-tls", "dsj-store-tls"]
    assert api.read("dsj-ca", "ca.crt") == made.authority.certificate
    assert not renewal_due(api.read("dsj-etcd-tls", "tls.crt"), NOW + timedelta(days=301))


@pytest.mark.parametrize("damage", [{"tls.crt": ""}, {"tls.key": None}, {"ca.crt": "eA=="}, {"tls.crt": "***"}])
def test_a_damaged_certificate_is_made_anew(damage: dict[str, str | None]) -> None:
    api = empty()
    ensure(api, "dsj", WANTED, NOW)
    api.writes.clear()
    for key, value in damage.items():
        if value is None:
            del api.data["dsj-etcd-tls"][key]
        else:
            api.data["dsj-etcd-tls"][key] = value
    ensure(api, "dsj", WANTED, NOW)
    assert api.writes == ["dsj-etcd-tls"]


def test_more_members_of_etcd_get_a_certificate_with_their_names() -> None:
    api = empty()
    ensure(api, "dsj", WANTED, NOW)
    api.writes.clear()
    more = Wanted("dsj-ca", "dsj-etcd-tls", (*HOSTS, "dsj-etcd-2.dsj-etcd-peers.dsj.svc"))
    ensure(api, "dsj", more, NOW)
    assert api.writes == ["dsj-etcd-tls"]
    assert "dsj-etcd-2.dsj-etcd-peers.dsj.svc" in names_in(api.read("dsj-etcd-tls", "tls.crt"))


def test_two_replicas_at_once_agree() -> None:
    first = empty()
    made = ensure(first, "dsj", WANTED, NOW)
    second = FakeSecrets(*first.data, rival={name: dict(data) for name, data in first.data.items()})
    also = ensure(second, "dsj", WANTED, NOW)
    assert second.writes == []
    assert also.authority.pair == made.authority.pair
    assert also.store_key == made.store_key


def test_only_what_is_wanted() -> None:
    api = FakeSecrets("dsj-ca")
    assert ensure(api, "dsj", Wanted("dsj-ca"), NOW).store_key is None
    assert api.writes == ["dsj-ca"]


def test_a_missing_secret_is_named() -> None:
    with pytest.raises(CredentialsError, match="no Secret dsj/dsj-etcd-tls: the chart makes it"):
        ensure(FakeSecrets("dsj-ca"), "dsj", WANTED, NOW)


def test_what_is_no_authority_is_named_and_not_overwritten() -> None:
    api = empty()
    api.data["dsj-ca"] = {"ca.crt": "eA==", "ca.key": "eA=="}
    with pytest.raises(CredentialsError, match="dsj/dsj-ca holds no authority"):
        ensure(api, "dsj", WANTED, NOW)
    assert api.writes == []


def test_the_operators_files_are_its_own(tmp_path: Path) -> None:
    held = ensure(empty(), "dsj", WANTED, NOW)
    folder = tmp_path / "credentials"
    write(held, folder, NOW)
    assert {file.name for file in folder.iterdir()} == {"ca.crt", "ca.key", "tls.crt", "tls.key", "store.key"}
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    admin = x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())
    assert admin.subject.rfc4514_string() == "CN=root"
    (tmp_path / "file").touch()
    with pytest.raises(CredentialsError, match="cannot be written"):
        write(held, tmp_path / "file" / "x", NOW)


def test_no_certificate_is_told_as_such() -> None:
    with pytest.raises(CertificateError):
        renewal_due(b"", NOW)


def test_an_operator_that_runs_for_long_renews_them_itself(tmp_path: Path) -> None:
    api = empty()
    made = ensure(api, "dsj", WANTED, NOW)
    write(made, tmp_path, NOW)
    note(tmp_path, "dsj", WANTED)
    api.writes.clear()
    later = NOW + timedelta(days=300)
    assert renewal_due((tmp_path / "tls.crt").read_bytes(), later)
    renew(api, tmp_path, later)
    assert sorted(api.writes) == ["dsj-etcd-tls", "dsj-store-tls"]
    assert names_in(api.read("dsj-etcd-tls", "tls.crt")) == list(HOSTS)
    assert not renewal_due((tmp_path / "tls.crt").read_bytes(), later)
    assert (tmp_path / "ca.crt").read_bytes() == made.authority.certificate
    api.writes.clear()
    renew(api, tmp_path, later)
    assert api.writes == []


@pytest.mark.parametrize("asked", ["", "[]", "{}", '{"namespace": "x", "wanted": {"other": 1}}'])
def test_what_was_asked_for_and_cannot_be_read(tmp_path: Path, asked: str) -> None:
    (tmp_path / "asked.json").write_text(asked)
    with pytest.raises(CredentialsError, match="does not say what was asked for"):
        renew(empty(), tmp_path, NOW)
