"""A job's two Secrets: keys that stay, a certificate for etcd that is renewed in place."""

import base64
import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509

from builders.posts import Posts
from deepseek_operator.certificates import Authority, years
from deepseek_operator.executors.render.parts import Owner
from deepseek_operator.job_secrets import (
    OwnCertificates,
    SharedCertificate,
    ensure_secrets,
    job_keys,
)
from deepseek_operator.kube import Api, Conflict, Exists, Object, Resource
from deepseek_runtime.contract.names import ROLES
from deepseek_runtime.transport import Keys, Message, Post, load_keys

OWNER = Owner("digits", "team-a", "5a1c8f6e-0000-4000-8000-000000000001")


class FakeSecrets:
    def __init__(self) -> None:
        self.held: dict[str, Object] = {}
        self.calls: list[str] = []

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self.held.get(name)

    def create(self, resource: Resource, namespace: str, manifest: Object) -> Object:
        name = manifest["metadata"]["name"]
        if name in self.held:
            raise Exists(name)
        manifest["metadata"] |= {"uid": f"uid-{len(self.calls)}", "resourceVersion": "1"}
        self.held[name] = manifest
        self.calls.append(f"create {name}")
        return manifest

    def merge(self, resource: Resource, namespace: str, name: str, patch: Object) -> Object:
        assert patch["metadata"] == {k: self.held[name]["metadata"][k] for k in ("uid", "resourceVersion")}
        self.held[name]["data"] |= patch["data"]
        self.calls.append(f"merge {name}")
        return self.held[name]

    def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> bool:
        self.calls.append(f"delete {name}")
        return self.held.pop(name, None) is not None

    def read(self, name: str, key: str) -> bytes:
        return base64.b64decode(self.held[name]["data"][key])


def ensure(secrets: FakeSecrets, authority: Authority | None, *, held: bool = False) -> str | None:
    certificates = None if authority is None else OwnCertificates(authority)
    return ensure_secrets(cast(Api, secrets), OWNER, certificates, held=held)


def others(secrets: FakeSecrets) -> None:
    earlier = Owner("digits", "team-a", "5a1c8f6e-0000-4000-8000-000000000009")
    ensure_secrets(cast(Api, secrets), earlier, held=False)


def test_each_role_has_its_own_secret_and_the_jobs_certificate() -> None:
    secrets, authority = FakeSecrets(), Authority.new("tests", years(1))
    ensure(secrets, authority)
    assert sorted(secrets.held) == ["digits-server-keys", "digits-worker-keys"]
    assert "worker.secret" not in secrets.held["digits-server-keys"]["data"]
    for name in secrets.held:
        certificate = x509.load_pem_x509_certificate(secrets.read(name, "tls.crt"))
        assert certificate.subject.rfc4514_string() == f"CN={OWNER.uid}"
        assert secrets.read(name, "ca.crt") == authority.certificate
        assert "ca.key" not in secrets.held[name]["data"]
    secrets.calls.clear()
    ensure(secrets, authority)
    assert secrets.calls == []


def test_without_an_authority_there_is_no_certificate() -> None:
    secrets = FakeSecrets()
    ensure(secrets, None)
    assert "tls.crt" not in secrets.held["digits-server-keys"]["data"]


@pytest.mark.parametrize("why", ["old", "another authority", "damaged", "none"])
def test_the_certificate_is_renewed_the_keys_stay(why: str) -> None:
    secrets, authority = FakeSecrets(), Authority.new("tests", years(3))
    ensure(
        secrets,
        None if why == "none" else Authority.new("other", years(1)) if why == "another authority" else authority,
    )
    data: dict[str, Any] = secrets.held["digits-worker-keys"]["data"]
    keys = {key: value for key, value in data.items() if key.startswith(("server.", "worker."))}
    if why == "old":
        old = authority.client(OWNER.uid, timedelta(days=300), now=datetime.now(UTC) - timedelta(days=250))
        for held in secrets.held.values():
            held["data"]["tls.crt"] = base64.b64encode(old.certificate).decode()
    if why == "damaged":
        for held in secrets.held.values():
            held["data"]["tls.crt"] = "***"
    secrets.calls.clear()
    ensure(secrets, authority)
    assert sorted(secrets.calls) == ["merge digits-server-keys", "merge digits-worker-keys"]
    assert secrets.read("digits-worker-keys", "ca.crt") == authority.certificate
    assert keys.items() <= data.items()
    secrets.calls.clear()
    ensure(secrets, authority)
    assert secrets.calls == []


def lose_a_secret(secrets: FakeSecrets) -> None:
    del secrets.held["digits-worker-keys"]


def lose_a_key(secrets: FakeSecrets) -> None:
    del secrets.held["digits-server-keys"]["data"]["server.secret"]


def take_another_making_s(secrets: FakeSecrets) -> None:
    name = "digits-worker-keys"
    files = job_keys()["worker"]
    secrets.held[name]["data"] = {key: base64.b64encode(value).decode() for key, value in files.items()}


LOSSES = [lose_a_secret, lose_a_key, take_another_making_s]


@pytest.mark.parametrize("lose", LOSSES)
def test_what_is_not_whole_is_made_anew_when_nobody_has_its_keys(lose: Callable[[FakeSecrets], None]) -> None:
    secrets = FakeSecrets()
    first = ensure(secrets, None)
    assert first == ensure(secrets, None)
    before = secrets.read("digits-server-keys", "server.public")
    lose(secrets)
    second = ensure(secrets, None)
    assert first != second == ensure(secrets, None, held=True)
    assert secrets.read("digits-server-keys", "server.public") != before
    assert secrets.read("digits-worker-keys", "server.public") == secrets.read("digits-server-keys", "server.public")


@pytest.mark.parametrize("lose", [*LOSSES, lambda secrets: secrets.held.clear()])
def test_while_somebody_has_them_no_key_is_made(lose: Callable[[FakeSecrets], None]) -> None:
    secrets = FakeSecrets()
    ensure(secrets, None)
    lose(secrets)
    left = copy.deepcopy(secrets.held)
    secrets.calls.clear()
    assert ensure(secrets, None, held=True) is None
    assert secrets.calls == []
    assert secrets.held == left


def test_keys_that_somebody_kept_and_puts_back_are_the_same() -> None:
    secrets = FakeSecrets()
    first = ensure(secrets, None)
    kept = copy.deepcopy(secrets.held)
    secrets.held.clear()
    assert ensure(secrets, None, held=True) is None
    secrets.held = kept
    assert ensure(secrets, None, held=True) == first


def test_what_belongs_to_an_earlier_job_is_waited_for() -> None:
    secrets = FakeSecrets()
    others(secrets)
    secrets.calls.clear()
    for held in (False, True):
        with pytest.raises(Conflict, match="not this job's"):
            ensure(secrets, Authority.new("tests", years(1)), held=held)
    assert secrets.calls == []


def test_where_nothing_can_be_signed_all_jobs_share_one() -> None:
    secrets, files = FakeSecrets(), [(b"ca", b"crt", b"key")]
    shared = SharedCertificate(lambda: files[0])
    ensure_secrets(cast(Api, secrets), OWNER, shared, held=False)
    assert secrets.read("digits-worker-keys", "tls.key") == b"key"
    files[0] = (b"ca", b"crt2", b"key2")
    secrets.calls.clear()
    ensure_secrets(cast(Api, secrets), OWNER, shared, held=True)
    assert secrets.calls == ["merge digits-server-keys", "merge digits-worker-keys"]
    assert secrets.read("digits-server-keys", "tls.crt") == b"crt2"
    ensure_secrets(cast(Api, secrets), OWNER, shared, held=True)
    assert len(secrets.calls) == 2


def test_the_certificate_in_the_secret_that_is_left_is_renewed_all_the_same() -> None:
    secrets, authority = FakeSecrets(), Authority.new("tests", years(1))
    ensure(secrets, authority)
    lose_a_secret(secrets)
    before = secrets.read("digits-server-keys", "server.secret")
    secrets.calls.clear()
    assert ensure(secrets, Authority.new("next", years(1)), held=True) is None
    assert secrets.calls == ["merge digits-server-keys"]
    assert secrets.read("digits-server-keys", "server.secret") == before


def test_with_these_keys_members_meet_and_another_jobs_worker_is_a_stranger(tmp_path: Path) -> None:
    for job in ("ours", "theirs"):
        for role, files in job_keys().items():
            folder = tmp_path / job / role
            folder.mkdir(parents=True)
            for name, content in files.items():
                (folder / name).write_bytes(content)
    ours = {role: load_keys(tmp_path / "ours" / role, role) for role in ROLES}
    theirs = load_keys(tmp_path / "theirs" / "worker", "worker")
    # Who knows the server's public key, which is no secret, and has a pair of another job.
    stranger = Keys("worker", theirs.public, theirs.secret, ours["worker"].server_public, ours["worker"].allowed)
    posts = Posts("tcp", tmp_path)
    try:
        server, worker = Post("server-0-0", ours["server"]), Post("worker-0-0", ours["worker"])
        outside = Post("worker-1-0", stranger)
        for post in (server, worker, outside):
            posts._open.append(post)
            posts.got[post.identity] = []
        address = posts.listen(server)
        for post in (outside, worker):
            post.dial("server-0-0", address)
        outside.send("server-0-0", Message("let me in"))
        worker.send("server-0-0", Message("here I am"))
        posts.until(lambda: server.refused["stranger"] > 0 and bool(posts.got["server-0-0"]))
        assert server.peers() == {"worker-0-0"}
        assert posts.kinds("server-0-0") == ["here I am"]
    finally:
        posts.close_all()
