"""What bench-recovery shows beside ours: what a rival's log says was lost, in the row of the same case."""

import json
import socket
from pathlib import Path
from typing import Any, cast

import pytest
from torch.distributed.elastic.rendezvous.utils import _matches_machine_hostname

from bench._plain_jobs import PlainJob
from bench._table import Row
from bench.recovery import GAP, WORKED, put_beside
from builders.releases import Release


class Layout:
    def __init__(self, volumes: Path) -> None:
        self.layout = self
        self.volumes = volumes
        self.cluster = self
        self.namespace = "here"


def job(folder: Path, rows: list[dict[str, Any]]) -> PlainJob:
    found = PlainJob(cast(Release, Layout(folder)), "torchrun", 10)
    log = folder / found._name / "log.jsonl"
    log.parent.mkdir()
    log.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"time": 99')  # torn: it is being written
    return found


def start(time: float, pod: int, step: int) -> dict[str, Any]:
    return {"time": time, "event": "start", "pod": pod, "step": step}


def steps(time: float, first: int, last: int) -> list[dict[str, Any]]:
    return [{"time": time + 0.1 * (step - first), "step": step} for step in range(first, last + 1)]


def test_what_a_killed_pod_costs(tmp_path: Path) -> None:
    """Killed at 3: the others begin anew before its successor is there, and again with it."""
    rows = [start(1.0, pod, 0) for pod in range(3)] + steps(1.5, 1, 18)
    rows += [start(5.0, 0, 10), start(5.1, 2, 10)]
    rows += [start(9.0, 0, 10), start(9.0, 1, 10), start(9.2, 2, 10), *steps(9.5, 11, 14)]
    loss = job(tmp_path, rows).lost(3.0, 1)
    assert loss.until == pytest.approx(6.5)
    assert loss.gap == pytest.approx(9.5 - 3.2)
    assert (loss.samples, loss.restarted) == (8 * 96, 2)


def test_a_figure_stands_beside_ours_of_the_same_case_alone() -> None:
    rows = [Row(case, metric, 1.0, "s", "", True) for case in ("a", "b") for metric in (WORKED, GAP)]
    put_beside(rows, "b", GAP, "torchrun", 7.0)
    put_beside(rows, "b", GAP, "indexed-job", 9.0)
    put_beside(rows, "none", GAP, "torchrun", 5.0)
    assert [row.rival for row in rows] == [{}, {}, {}, {"torchrun": 7.0, "indexed-job": 9.0}]


def test_what_is_written_meanwhile_is_read_once(tmp_path: Path) -> None:
    found = job(tmp_path, [start(1.0, 0, 0), *steps(1.5, 1, 2)])
    assert [step for _, step in found._steps()] == [1, 2]
    with found._log.open("a") as log:
        log.write(', "step": 3}\n{"time": 100, "step": 4}\n')
    assert [step for _, step in found._steps()] == [1, 2, 3, 4]


def test_torchrun_at_the_meeting_place_knows_itself_whatever_names_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replacement's name is served with its predecessor's address for a while; then nobody would hold the store."""
    found = PlainJob(cast(Release, Layout(tmp_path)), "torchrun", 10)
    pod = found._spec()["template"]["spec"]
    (endpoint,) = [w for w in pod["containers"][0]["command"] if w.startswith("--rdzv-endpoint=")]
    host = endpoint.removeprefix("--rdzv-endpoint=").rpartition(":")[0]
    own = f"{found._name}-0"
    # As the kubelet writes /etc/hosts.
    full = f"{own}.{pod['subdomain']}.here.svc.cluster.local"

    def looked_up(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        address, canonical = ("10.0.0.9", full) if name == own else ("10.0.0.1", name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, canonical, (address, 0))]

    monkeypatch.setattr(socket, "gethostname", lambda: own)
    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    assert _matches_machine_hostname(host)
    assert not _matches_machine_hostname(f"{own}.{pod['subdomain']}")
