"""`make bench-wire`: every byte that travels, as the interface counters of network namespaces have it.

Real jobs (2 servers, 4 workers, each in a namespace of its own; encrypted) train a byte-level GPT of 4.8 M parameters
on batches of a few bytes: what is sent does not depend on how long a batch computes. Counted are whole frames, each
packet with its headers. The steady part of a job is counted between two moments in which all workers are held, after an
eighth of the job and after three quarters; a row of its own has the whole job, with first pulls and last pushes, which
are dense. Beside ours: the same job without compression, and DDP over gloo in the same namespaces.

QUICK=1: short jobs. LONG=4: four times longer ones. ONLY=regex: those cases alone. Needs root.
"""

import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench._done import PATIENCE
from bench._net.jobs import NetJobs
from bench._net.network import Counters, Network, address, enter, total
from bench._net.ranks import Ranks
from bench._net.waiting import HOLD
from bench._net.window import Journal
from bench._table import Row, machine, publish
from builders.real_jobs import ended, told
from deepseek_operator.executors.processes import python_environment
from deepseek_runtime.contract.store import password_of

SERVERS: Final = 2
MODEL: Final = {"layers": 6, "heads": 4, "width": 256, "context": 96, "eval_windows": 4}
TRAINING: Final[dict[str, Any]] = {
    "task": "bench._net.waiting:SlowLM",
    "args": {**MODEL, "waits": [0.0]},
    "batchSize": 1,
    "seed": 1,
}
GRADIENT: Final = {"update": {"mode": "gradient", "localSteps": 1}, "optimizer": {"name": "sgd", "lr": 0.01}}
LOCAL: Final = {"optimizer": {"name": "adamw", "lr": 1e-4}}
"""All else as a job has it that says nothing."""
NONE: Final = {"method": "none"}
KEY: Final = b"of the benchmark's store"
STORE_PORT: Final = 8443
QUIET: Final = 20_000
"""Bytes in half a second by all interfaces: heartbeats, and nothing else."""


@dataclass(frozen=True, slots=True)
class Case:
    """ranges: of each worker. compression: None: the defaults; ratio and bits: what they come to."""

    name: str
    training: dict[str, Any]
    compression: dict[str, Any] | None
    ranges: int
    workers: int = 4
    backup: bool = False
    store: bool = False
    """Checkpoints go to a store in a namespace of its own, eight in all; else to this machine's disk."""

    @property
    def steps(self) -> int:
        return self.ranges * self.workers * self.local

    @property
    def local(self) -> int:
        return 1 if "update" in self.training else 8

    @property
    def ratio(self) -> float:
        return float((self.compression or {}).get("ratio", 0.05))

    @property
    def bits(self) -> int:
        return int((self.compression or {}).get("valueBits", 2))


@dataclass(frozen=True, slots=True)
class Split:
    """Bytes, each counted once: workers' both ways, of which `up` were sent by them; among servers; to and from the
    store; to and from etcd."""

    workers: float
    up: float
    servers: float
    store: float
    etcd: float

    @property
    def everything(self) -> float:
        return self.workers + self.servers + self.store + self.etcd


@dataclass(frozen=True, slots=True)
class Traffic:
    """steady: of `batches`; whole: of all the job's; checkpoints: of the whole job."""

    case: Case
    steady: Split
    batches: int
    whole: Split
    checkpoints: int
    parameters: int

    def times_fewer(self, split: Split, batches: int) -> float:
        return dense_bytes(self.parameters) * batches / split.everything


def main() -> None:
    quick = os.environ.get("QUICK", "") not in ("", "0")
    scale = 0.1 if quick else float(os.environ.get("LONG") or "1")
    where = machine()
    cases = [case for case in plan(scale) if re.search(os.environ.get("ONLY") or "", case.name)]
    hosts = [f"server-{index}" for index in range(SERVERS)] + [f"worker-{index}" for index in range(8)] + ["store-0"]
    with Network(hosts) as network, tempfile.TemporaryDirectory(prefix="dsj-wire-") as scratch:
        network.split_packets()
        root = Path(scratch)
        found = [run(case, network, root / f"case-{number}") for number, case in enumerate(cases)]
        ddp = by_ddp(network, root, 4 if quick else 20)
    publish("wire", table(found, ddp), where, notes(found))


def plan(scale: float) -> list[Case]:
    """The dense one first: the others are shown beside it."""
    few, many = max(8, round(40 * scale)), max(16, round(200 * scale))
    topk = {"method": "topk", "ratio": 0.05}
    return [
        Case("gradient, dense", GRADIENT, NONE, few),
        Case("gradient, Top-5 %, 2 bits", GRADIENT, {**topk, "valueBits": 2}, many),
        Case("gradient, Top-5 %, 4 bits", GRADIENT, {**topk, "valueBits": 4}, many),
        Case("local, the defaults", LOCAL, None, many // 2),
        Case("local, the defaults, backup", LOCAL, None, many // 4, backup=True),
        Case("local, the defaults, store", LOCAL, None, many // 4, store=True),
        Case("local, 64 of 4,096", LOCAL, {**topk, "ratio": 64 / 4096}, many // 4),
        Case("local, the defaults, 8 workers", LOCAL, None, many // 4, workers=8),
        Case("local, published on each second push", LOCAL, {**topk, "publishEvery": 0.25}, many // 4, workers=8),
    ]


def dense_bytes(parameters: int) -> float:
    """Of one batch: every gradient pushed and every weight pulled, in float32."""
    return 8.0 * parameters


def entropy(ratio: float, bits: int) -> float:
    """Bits a parameter of positions at their entropy and of the values."""
    return -ratio * math.log2(ratio) - (1 - ratio) * math.log2(1 - ratio) + ratio * bits


def split(counters: Mapping[str, Counters]) -> Split:
    roles = {
        role: total(one for host, one in counters.items() if host.startswith(role))
        for role in ("server", "worker", "store")
    }
    workers, store = roles["worker"], roles["store"]
    return Split(
        workers=workers.both,
        up=workers.sent,
        servers=roles["server"].sent - workers.received - store.received,
        store=store.both,
        etcd=workers.local + roles["server"].local,
    )


def run(case: Case, network: Network, root: Path) -> Traffic:
    print(f"{time.strftime('%H:%M:%S')} {case.name}: {case.steps} batches", flush=True)
    hold = root / "hold"
    os.environ[HOLD] = str(hold)
    root.mkdir()
    jobs = NetJobs(root, network)
    before = network.counters()
    with store(root, case.store) as place:
        try:
            training = {**TRAINING, **case.training, "steps": case.steps}
            if case.compression is not None:
                training["compression"] = case.compression
            checkpoint = {"everySteps": case.steps // 8 if case.store else 1_000_000, **place}
            folder = jobs.start(
                training, servers=SERVERS, workers=case.workers, backup=case.backup, checkpoint=checkpoint
            )
            journal = Journal(folder)
            journal.until(lambda: journal.batches() >= max(case.steps // 8, 2 * case.workers * case.local))
            first, done = held(network, journal, hold)
            journal.until(lambda: journal.batches() >= case.steps * 3 // 4)
            last, more = held(network, journal, hold)
            status = ended(folder, PATIENCE)
            assert status.phase == "Succeeded" and status.progress is not None, told(folder)
            saved = len(list((root / "store").rglob("index.json")))
        finally:
            hold.unlink(missing_ok=True)
            jobs.end()
    after = network.counters()
    steady = split({host: last[host] - first[host] for host in network.hosts})
    whole = split({host: after[host] - before[host] for host in network.hosts})
    traffic = Traffic(case, steady, more - done, whole, saved, status.progress.parameters)
    print(f"  {traffic.batches} batches: {steady}; whole: {whole}", flush=True)
    return traffic


def held(network: Network, journal: Journal, hold: Path) -> tuple[Mapping[str, Counters], int]:
    """The counters and the batches of ranges done while all workers wait, each within a range of its own."""
    hold.touch()
    end = time.monotonic() + PATIENCE
    before = network.counters()
    while True:
        time.sleep(0.5)  # over which bytes are counted
        now = network.counters()
        if sum(now[host].sent - before[host].sent for host in network.hosts) < QUIET:
            break
        if time.monotonic() > end:
            raise TimeoutError(f"the workers are held, and still there is traffic after {PATIENCE:g} s")
        before = now
    journal.look()
    hold.unlink()
    return now, journal.batches()


@contextmanager
def store(folder: Path, wanted: bool) -> Iterator[dict[str, Any]]:
    """The chart's store in a namespace of its own; what the job says of it."""
    if not wanted:
        yield {}
        return
    place = folder / "store"
    place.mkdir()
    (folder / "key").write_bytes(KEY)
    words = ["-P", "-m", "deepseek_runtime.store_server", "--folder", str(place), "--key", str(folder / "key")]
    command = [*enter("store-0"), sys.executable, *words, "--host", address("store-0"), "--port", str(STORE_PORT)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=python_environment())
    try:
        assert process.stdout is not None and process.stdout.readline().startswith("http://")
        options = {"auth": ["admin", password_of(KEY, "admin")]}
        yield {"storage": {"uri": f"webdav://{address('store-0')}:{STORE_PORT}/jobs", "options": options}}
    finally:
        process.terminate()
        process.communicate(timeout=20.0)


def by_ddp(network: Network, root: Path, steps: int) -> float:
    """Bytes of a batch, both ways: sent and received are the same ones here, for the ranks talk to each other."""
    with Ranks(root, 4, "bytelm", MODEL, waits=[0.0] * 4) as ranks:
        ranks.run(3)
        before = network.counters()
        ranks.run(steps)
        after = network.counters()
    sent = total(after[host] - before[host] for host in network.hosts if host.startswith("worker")).sent
    return sent / (4 * steps)


def table(found: list[Traffic], ddp: float) -> list[Row]:
    plainly = [one.steady.everything / one.batches for one in found if one.case.compression == NONE]
    rows: list[Row] = []
    for one in found:
        case, dense = one.case, dense_bytes(one.parameters)
        of_local = case.local > 1
        name = f"{case.name}, {case.workers} workers"
        batch = one.steady.everything / one.batches
        beside = {"dense FP32 push and pull": dense / 1e6, "DDP over gloo": ddp / 1e6}
        if plainly:
            beside["ours, dense"] = plainly[0] / 1e6
        rows.append(Row(name, "bytes a batch, all counted", batch / 1e6, "MB", "shown", True, beside))
        if case.compression == NONE:
            continue
        share, least = 100 * (1 - batch / dense), 99.5 if of_local else 95.0
        eight = case.workers == 8
        plain = not case.backup and not case.store and case.ratio == 0.05
        goal = f">= {least:g}" if plain and not eight else "shown"
        rows.append(Row(name, "fewer than dense", share, "%", goal, share >= least if goal != "shown" else True))
        times = one.times_fewer(one.steady, one.batches)
        goal = ">= 140" if eight else "shown"
        rows.append(Row(name, "times fewer than dense", times, "", goal, times >= 140 if eight else True))
        whole = one.times_fewer(one.whole, case.steps)
        metric = f"times fewer, a whole job of {case.ranges} ranges a worker"
        rows.append(Row(name, metric, whole, "", "shown", True))
        ranges = one.batches / case.local
        up, limit = 8 * one.steady.up / ranges / one.parameters, entropy(case.ratio, case.bits)
        sparse = case.ratio < 0.05
        goal = "<= 0.15" if sparse else "shown"
        rows.append(Row(name, "sent for a push", up, "bits a parameter", goal, up <= 0.15 or not sparse, limit=limit))
        if case.backup:
            rows.append(
                Row(name, "among servers (backup)", one.steady.servers / one.batches / 1e6, "MB", "shown", True)
            )
        if case.store:
            each = one.whole.store / max(1, one.checkpoints) / 1e6
            rows.append(Row(name, "a checkpoint", each, "MB", "shown", True, limit=4 * one.parameters / 1e6))
    return rows


def notes(found: list[Traffic]) -> list[str]:
    shares = [
        f"{one.case.name}: of a batch's bytes workers {one.steady.workers / one.batches:,.0f} "
        f"(sent {one.steady.up / one.batches:,.0f}), among servers {one.steady.servers / one.batches:,.0f}, store "
        f"{one.steady.store / one.batches:,.0f}, etcd {one.steady.etcd / one.batches:,.0f}; {one.batches} batches"
        for one in found
    ]
    return [
        f"{found[0].parameters:,} parameters; frames with all headers, packets of 1,500 bytes; encrypted (CURVE)",
        "limit of what is sent for a push: positions at their entropy and the values; of a checkpoint: FP32 weights",
        *shares,
    ]


if __name__ == "__main__":
    main()
