"""`make bench-shaped`: seconds a step over links of 1 Gbit/s and 100 Mbit/s, ours, DDP over gloo, DDP with PowerSGD.

4 workers (and ours' 2 servers) in network namespaces, each with a link that tc's token buckets hold to the rate in both
directions. A byte-level GPT of 4.8 M parameters, 4 x 96 tokens a worker and step; ours is a job with the defaults
(`local`, 8 local steps, Top-5 % and 2 bits both ways), encrypted. A step: one batch of each worker.

All processes share this machine's processors, so it is measured twice. *waits*: a batch waits as long as it computes
alone on one processor, measured at the start; gradients are real, of a few bytes. So each worker has a machine of its
own, and what is left of sharing is the machinery. *computes*: all workers compute, on the processors there are.

The three run in turn, ROUNDS (3) times at each rate; whoever is not measured stands still. WAYS=waits: that
way alone. QUICK=1: one short round. Needs root.
"""

import os
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import torch

from bench._net.jobs import NetJobs
from bench._net.network import Network
from bench._net.ranks import Ranks
from bench._net.waiting import HOLD
from bench._net.window import Journal, Pace, pace
from bench._table import Row, machine, publish
from deepseek_runtime.tasks.bytelm import ByteLM

WORKERS: Final = 4
WINDOWS: Final = 4
MODEL: Final = {"layers": 6, "heads": 4, "width": 256, "context": 96, "eval_windows": 4}
TRAINING: Final[dict[str, Any]] = {
    "task": "bench._net.waiting:SlowLM",
    "batchSize": WINDOWS,
    "steps": 10_000_000,
    "seed": 1,
    "optimizer": {"name": "adamw", "lr": 1e-3, "warmupSteps": 400, "clipNorm": 1},
}
RATES: Final = {"1 Gbit/s": 1_000_000_000, "100 Mbit/s": 100_000_000}
TIMES: Final = {"1 Gbit/s": 1.0, "100 Mbit/s": 5.0}
"""How much faster than DDP ours shall be."""
UTILISATION: Final = 0.95
WAITS, COMPUTES = "waits", "computes"
OURS, DDP, POWERSGD = "ours", "DDP over gloo", "DDP with PowerSGD"
RANGES: Final = 6
"""Of each worker, that are looked at in a round of ours; one more before them."""

Measured = dict[tuple[str, str, str], list[float]]
"""Seconds a step of each round, by way, rate and who."""


def main() -> None:
    quick = os.environ.get("QUICK", "") not in ("", "0")
    rounds = 1 if quick else int(os.environ.get("ROUNDS") or "3")
    ways = (os.environ.get("WAYS") or f"{WAITS},{COMPUTES}").split(",")
    where = machine()
    alone = seconds_alone()
    print(f"a batch alone on one processor: {alone:.3f} s", flush=True)
    steps: Measured = defaultdict(list)
    used: Measured = defaultdict(list)
    hosts = [f"server-{index}" for index in range(2)] + [f"worker-{index}" for index in range(WORKERS)]
    with Network(hosts) as network, tempfile.TemporaryDirectory(prefix="dsj-shaped-") as scratch:
        for way in ways:
            measure(network, Path(scratch), way, alone, rounds, steps, used)
    publish("shaped", table(steps, used, alone), where, notes(steps, used, alone, rounds))


def seconds_alone() -> float:
    """Of one batch's gradient on one thread: the least of some, for others may use the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        task = ByteLM(**MODEL)
        dataset = task.dataset("train")
        batch = task.collate([dataset[index] for index in range(WINDOWS)])
        model, found = task.model(), []
        for _ in range(12):
            began = time.monotonic()
            task.loss(model, batch).backward()  # type: ignore[no-untyped-call]
            found.append(time.monotonic() - began)
        return min(found)
    finally:
        torch.set_num_threads(before)


def measure(
    network: Network, scratch: Path, way: str, alone: float, rounds: int, steps: Measured, used: Measured
) -> None:
    root = scratch / way
    root.mkdir()
    hold = root / "hold"
    os.environ[HOLD] = str(hold)
    waits = [alone] * WORKERS if way == WAITS else None
    jobs = NetJobs(root, network)
    rival: dict[str, Any] = {"waits": waits, "windows": WINDOWS}
    try:
        args = {**MODEL, "waits": waits or [0.0], "whole": way == COMPUTES}
        folder = jobs.start({**TRAINING, "args": args}, servers=2, workers=WORKERS, checkpoint={"everySteps": 10**6})
        journal = Journal(folder)
        journal.until(lambda: journal.batches() >= 2 * 8 * WORKERS)
        hold.touch()
        with (
            Ranks(root, WORKERS, "bytelm", MODEL, **rival) as plain,
            Ranks(root, WORKERS, "bytelm", MODEL, powersgd=True, **rival) as low,
        ):
            plain.run(2)
            low.run(6)  # what it begins with is dense
            for rate, bits in RATES.items():
                network.shape(bits)
                for _ in range(rounds):
                    found = ours(journal, hold)
                    steps[way, rate, OURS].append(WORKERS / found.rate)
                    used[way, rate, OURS].append(found.utilisation)
                    steps[way, rate, DDP].append(statistics.mean(plain.run(4)))
                    steps[way, rate, POWERSGD].append(statistics.mean(low.run(8)))
                    told = ", ".join(f"{who} {steps[way, rate, who][-1]:.3f} s" for who in (OURS, DDP, POWERSGD))
                    print(
                        f"{time.strftime('%H:%M:%S')} {way}, {rate}: {told}, used {found.utilisation:.3f}", flush=True
                    )
    finally:
        hold.unlink(missing_ok=True)
        jobs.end()


def ours(journal: Journal, hold: Path) -> Pace:
    """The job goes on until each worker has made its ranges, and stands still again.

    The range in which it was held is over first, and one more, for its workers were in step then.
    """
    journal.look()
    journal.rows.clear()

    def ends() -> dict[str, list[float]]:
        found: dict[str, list[float]] = defaultdict(list)
        for row in journal.rows:
            found[row["worker"]].append(float(row["time"]))
        return found

    hold.unlink()
    journal.until(lambda: len(ends()) == WORKERS and min(map(len, ends().values())) >= RANGES + 2)
    hold.touch()
    time.sleep(2.0)  # pushes that are under way arrive
    return pace(journal.rows, max(sorted(times)[1] for times in ends().values()) - 1e-3, time.time())


def table(steps: Measured, used: Measured, alone: float) -> list[Row]:
    rows = []
    middle = statistics.median
    for way, rate in dict.fromkeys((way, rate) for way, rate, _ in steps):
        mine = middle(steps[way, rate, OURS])
        rivals = {who: middle(steps[way, rate, who]) for who in (DDP, POWERSGD)}
        case = f"{rate}, {way}"
        limit = alone if way == WAITS else alone * WORKERS / min(WORKERS, os.cpu_count() or 1)
        rows.append(Row(case, "a step of all workers", mine, "s", "shown", True, rivals, limit))
        times, part = TIMES[rate], middle(used[way, rate, OURS])
        faster = rivals[DDP] / mine
        rows += [
            Row(case, "times faster than DDP, a step", faster, "", f">= {times:g}, before samples", faster >= times),
            Row(case, "times DDP's samples that leave it ahead", faster / times, "", "shown", True),
            Row(case, "times faster than PowerSGD, a step", rivals[POWERSGD] / mine, "", "> 1, before samples",
                rivals[POWERSGD] > mine),
            Row(case, "utilisation", 100 * part, "%", f">= {100 * UTILISATION:g}", part >= UTILISATION,
                {who: 100 * limit / seconds for who, seconds in rivals.items()}),
        ]  # fmt: skip
    return rows


def notes(steps: Measured, used: Measured, alone: float, rounds: int) -> list[str]:
    spreads = [
        f"{way}, {rate}, {who}: {min(found):.3f} to {max(found):.3f} s a step"
        for (way, rate, who), found in steps.items()
    ]
    parts = [
        f"{way}, {rate}: utilisation {100 * min(found):.1f} to {100 * max(found):.1f} %"
        for (way, rate, _), found in used.items()
    ]
    return [
        f"a batch's gradient alone on one processor: {alone:.3f} s, the limit; rivals' utilisation: it / their step",
        f"{rounds} rounds in turn; steps are compared, not losses: ours needs more samples for the same loss",
        *spreads,
        *parts,
    ]


if __name__ == "__main__":
    main()
