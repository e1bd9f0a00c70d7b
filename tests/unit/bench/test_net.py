"""What is pure in the benchmarks of links: counters, addresses, paces, and the arithmetic of their tables."""

import json
import re
from typing import Any

import pytest

from bench import straggler, wire
from bench._net import network
from bench._net.jobs import member_script
from bench._net.network import Counters, address, parse_counters, total
from bench._net.window import pace


def link(name: str, received: int, sent: int) -> dict[str, Any]:
    return {"ifname": name, "stats64": {"rx": {"bytes": received, "packets": 1}, "tx": {"bytes": sent, "packets": 1}}}


def row(worker: str, time: float, seconds: float = 1.0, batches: int = 8) -> dict[str, Any]:
    return {"g": 0, "worker": worker, "time": time, "seconds": seconds, "batch_losses": [0.0] * batches}


def test_counters_are_read_by_interface_and_subtracted() -> None:
    before = parse_counters(json.dumps([link("lo", 5, 5), link("eth0", 100, 20)]))
    after = parse_counters(json.dumps([link("eth0", 300, 50), link("lo", 9, 9)]))
    assert after - before == Counters(received=200, sent=30, local=4)
    assert total([before, after]).both == 470
    with pytest.raises(KeyError):
        parse_counters(json.dumps([link("lo", 5, 5)]))


@pytest.mark.parametrize("host, last", [("server-0", 10), ("server-3", 13), ("worker-7", 107), ("store-0", 90)])
def test_addresses(host: str, last: int) -> None:
    assert address(host) == f"{network.NET}.{last}"


@pytest.mark.parametrize("bits, expected", [(100_000_000, 65_536), (1_000_000_000, 500_000)])
def test_a_bucket_holds_a_packet_and_four_milliseconds(bits: int, expected: int) -> None:
    assert network.burst(bits) == expected


def test_cables_are_names_that_the_kernel_takes() -> None:
    for host in ("server-0", "worker-15", "store-0"):
        assert len(network._cable(host)) <= 15


@pytest.mark.parametrize("role", ["server", "worker"])
def test_a_member_listens_where_others_reach_it(role: Any) -> None:
    script = member_script(role)
    assert "tcp://127.0.0.1:0#tcp://0.0.0.0:0" in script
    assert re.search(rf"exec \S*nsenter --net=/run/netns/{network.NAME}-{role}-\$\{{DSJ_INDEX\}} \S+ -P -m", script)


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    reason = network.why_not()
    assert reason is not None
    assert "root" in reason
    with pytest.raises(SystemExit, match="root"):
        network.Network(["worker-0"]).__enter__()


def test_each_byte_of_a_job_is_counted_once() -> None:
    """2 workers send 10 each and hear 40 each; servers tell each other 7 and 3; one sends the store 30 and hears 2."""
    counters = {
        "server-0": Counters(received=10 + 3 + 2, sent=40 + 7 + 30, local=1),
        "server-1": Counters(received=10 + 7, sent=40 + 3, local=1),
        "worker-0": Counters(received=40, sent=10, local=2),
        "worker-1": Counters(received=40, sent=10, local=2),
        "store-0": Counters(received=30, sent=2, local=100),
    }
    split = wire.split(counters)
    assert split == wire.Split(workers=100, up=20, servers=10, store=32, etcd=6)
    assert split.everything == 148


def test_entropy_is_that_of_the_literature() -> None:
    """205 and 64 of 4,096 with 2 bits: docs/benchmarks.md, compression."""
    assert wire.entropy(205 / 4096, 2) == pytest.approx(0.387, abs=5e-4)
    assert wire.entropy(64 / 4096, 2) == pytest.approx(0.1474, abs=5e-5)


def test_cases_of_wire_are_as_long_as_asked() -> None:
    for case in wire.plan(0.5):
        assert case.steps == case.ranges * case.workers * case.local
    assert {case.workers for case in wire.plan(1.0)} == {4, 8}


def test_a_pace_is_taken_from_each_workers_whole_ranges() -> None:
    rows = [row("a", 0.0), row("a", 10.0), row("a", 12.0), row("a", 14.0), row("b", 11.0, 3.0), row("b", 15.0, 3.0)]
    found = pace(rows, 9.0, 16.0)
    assert found.rate == pytest.approx(16 / 4 + 8 / 4)
    assert found.utilisation == pytest.approx((2 * 1.0 + 3.0) / 8)


@pytest.mark.parametrize("rows", [[], [row("a", 1.0)], [row("a", 1.0), row("a", 2.0), row("b", 1.5)]])
def test_a_pace_needs_two_ranges_of_each_worker(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="for longer"):
        pace(rows, 0.0, 5.0)


def test_the_interval_of_pairs() -> None:
    low, mean, high = straggler.interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert (low, high) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5))
    assert straggler.interval([1.0])[1] == 1.0


def test_both_ends_of_a_job_are_left_out() -> None:
    assert straggler.calm([row("a", 100.0), row("b", 200.0)]) == (115.0, 185.0)
