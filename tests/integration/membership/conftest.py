"""A real etcd, and members that are closed whatever happens."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.etcd import TTL, Join, LocalEtcd, Watched
from deepseek_runtime.contract.keys import JobKeys


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEtcd]:
    """For tests that leave it running; each has a job of its own."""
    server = LocalEtcd(tmp_path_factory.mktemp("etcd"))
    yield server
    server.kill()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[LocalEtcd]:
    """For tests that hurt it."""
    server = LocalEtcd(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def keys() -> JobKeys:
    return JobKeys.of("test", "default", "job", str(uuid.uuid4()))


@pytest.fixture
def join(keys: JobKeys) -> Iterator[Join]:
    members: list[Watched] = []

    def start(etcd: LocalEtcd, *, endpoint: str = "", ttl: float = TTL) -> Watched:
        member = Watched([endpoint or etcd.endpoint], keys, tls=etcd.tls, ttl=ttl)
        members.append(member)
        member.start()
        member.wait_listed(10.0)
        return member

    yield start
    for member in members:
        member.close()
