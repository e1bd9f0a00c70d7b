"""A job's two Secrets: keys that stay, a certificate for etcd that is renewed in place."""

import base64
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
    renew_certificates,
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


def ensure(secrets: FakeSecrets, authority: Authority | None) -> None:
    ensure_secrets(cast(Api, secrets), OWNER, None if authority is None else OwnCertificates(authority))


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


def test_half_of_an_earlier_making_is_made_anew() -> None:
    secrets = FakeSecrets()
    ensure(secrets, None)
    before = secrets.read("digits-server-keys", "server.public")
    del secrets.held["digits-worker-keys"]
    ensure(secrets, None)
    assert secrets.read("digits-server-keys", "server.public") != before
    assert secrets.read("digits-worker-keys", "server.public") == secrets.read("digits-server-keys", "server.public")


def test_what_belongs_to_an_earlier_job_is_waited_for() -> None:
    secrets = FakeSecrets()
    ensure_secrets(cast(Api, secrets), Owner("digits", "team-a", "5a1c8f6e-0000-4000-8000-000000000009"))
    with pytest.raises(Conflict, match="not this job's"):
        ensure(secrets, None)


def test_where_nothing_can_be_signed_all_jobs_share_one() -> None:
    secrets, files = FakeSecrets(), [(b"ca", b"crt", b"key")]
    shared = SharedCertificate(lambda: files[0])
    ensure_secrets(cast(Api, secrets), OWNER, shared)
    assert secrets.read("digits-worker-keys", "tls.key") == b"key"
    files[0] = (b"ca", b"crt2", b"key2")
    secrets.calls.clear()
    renew_certificates(cast(Api, secrets), OWNER, shared)
    assert secrets.calls == ["merge digits-server-keys", "merge digits-worker-keys"]
    assert secrets.read("digits-server-keys", "tls.crt") == b"crt2"
    renew_certificates(cast(Api, secrets), OWNER, shared)
    assert len(secrets.calls) == 2


def test_under_a_running_job_no_key_changes_although_a_secret_is_lost() -> None:
    secrets, authority = FakeSecrets(), Authority.new("tests", years(1))
    ensure(secrets, authority)
    del secrets.held["digits-worker-keys"]
    before = secrets.read("digits-server-keys", "server.secret")
    secrets.calls.clear()
    renew_certificates(cast(Api, secrets), OWNER, OwnCertificates(Authority.new("next", years(1))))
    assert secrets.calls == ["merge digits-server-keys"]
    assert secrets.read("digits-server-keys", "server.secret") == before


def test_another_jobs_secret_is_left_alone() -> None:
    secrets = FakeSecrets()
    ensure_secrets(cast(Api, secrets), Owner("digits", "team-a", "5a1c8f6e-0000-4000-8000-000000000009"))
    secrets.calls.clear()
    renew_certificates(cast(Api, secrets), OWNER, OwnCertificates(Authority.new("tests", years(1))))
    assert secrets.calls == []


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
