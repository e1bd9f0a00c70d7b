"""`make bench-straggler`: one of 4 workers is 3 times slower than the others.

A batch takes a fixed time, in which the images of digits are really trained on and the rest is waited: 30 ms with three
workers, 90 ms with the fourth. Rounds are interleaved: a job with four even workers and one with the slow one, the same
seed and the same samples, then DDP over gloo with the same waits, even and uneven. The bound is what four workers give
that never wait for each other: (3 + 1/3) / 4 of the even ones' rate.

ROUNDS=n: 5 unless said. QUICK=1: one short round.
"""

import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench._done import PATIENCE
from bench._net.network import Network
from bench._net.ranks import Ranks
from bench._net.window import Journal, pace
from bench._table import Row, machine, publish
from builders.real_jobs import Jobs, ended, told
from deepseek_runtime.contract.config import Timing

WAIT: Final = 0.03
SLOWER: Final = 3.0
EVEN: Final = [WAIT] * 4
UNEVEN: Final = [WAIT] * 3 + [SLOWER * WAIT]
BOUND: Final = (3 + 1 / SLOWER) / 4
STEPS: Final = 2400
"""Batches of a job: 43 epochs."""
TRAINING: Final[dict[str, Any]] = {
    "task": "bench._net.waiting:SlowDigits",
    "batchSize": 32,
    "optimizer": {"name": "adamw", "lr": 2e-3, "schedule": "cosine", "warmupSteps": 200},
}
CALM: Final = 0.15
"""Part of a job at its begin and at its end that is not looked at: members come and go."""
NAMES: Final = {"even": EVEN, "one slow": UNEVEN}


@dataclass(slots=True)
class Found:
    """A value a round. rates: batches a second of all workers."""

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    ddp: list[float] = field(default_factory=list)


def main() -> None:
    quick = os.environ.get("QUICK", "") not in ("", "0")
    rounds, steps = (1, 800) if quick else (int(os.environ.get("ROUNDS") or "5"), STEPS)
    where = machine()
    found = {name: Found() for name in NAMES}
    hosts = [f"worker-{index}" for index in range(4)]
    with Network(hosts), tempfile.TemporaryDirectory(prefix="dsj-straggler-") as scratch:
        root = Path(scratch)
        for number in range(rounds):
            for name, waits in NAMES.items():
                job(root, number, name, waits, steps, found[name])
            for name, waits in NAMES.items():
                with Ranks(root, 4, "digits", {}, waits=waits) as ranks:
                    ranks.run(10)
                    found[name].ddp.append(4 / statistics.mean(ranks.run(20 if quick else 60)))
                print(f"round {number}: DDP, {name}: {found[name].ddp[-1]:.1f} batches/s", flush=True)
    publish("straggler", table(found), where, notes(found, steps))


def job(root: Path, number: int, name: str, waits: list[float], steps: int, found: Found) -> None:
    folder = root / f"{number}-{name.replace(' ', '-')}"
    folder.mkdir()
    jobs = Jobs(folder)
    try:
        training = {**TRAINING, "args": {"waits": waits}, "steps": steps, "seed": number}
        state = jobs.start(training, servers=2, workers=4, timing=Timing(progress=1.0))
        journal = Journal(state)
        journal.until(lambda: journal.batches() >= steps)
        status = ended(state, PATIENCE)
        assert status.phase == "Succeeded" and status.progress is not None, told(state)
        found.rates.append(pace(journal.rows, *calm(journal.rows)).rate)
        found.losses.append(status.progress.metrics["loss"])
        found.accuracies.append(100 * status.progress.metrics["accuracy"])
        said = f"{found.rates[-1]:.1f} batches/s, loss {found.losses[-1]:.4f}"
        print(f"{time.strftime('%H:%M:%S')} round {number}: {name}: {said}", flush=True)
    finally:
        jobs.end()


def calm(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """From when to when all workers were at it: a part of the time at both ends is left out."""
    first, last = min(row["time"] for row in rows), max(row["time"] for row in rows)
    return first + CALM * (last - first), last - CALM * (last - first)


def table(found: dict[str, Found]) -> list[Row]:
    even, slow = found["even"], found["one slow"]
    ideal = 4 / WAIT
    middle = statistics.median
    rows = []
    for name, one, bound in (("even", even, 1.0), ("one slow", slow, BOUND)):
        rate, rival = middle(one.rates), middle(one.ddp)
        limit = bound * ideal
        goal, holds = (">= 95 % of the limit", rate >= 0.95 * limit) if one is slow else ("shown", True)
        case = f"4 workers, {name}"
        rows.append(Row(case, "throughput", rate, "batches/s", goal, holds, {"DDP over gloo": rival}, limit))
    kept, theirs = middle(slow.rates) / middle(even.rates), middle(slow.ddp) / middle(even.ddp)
    rows.append(
        Row(
            "one slow against even", "throughput kept", 100 * kept, "%", f">= {95 * BOUND:.1f}", kept >= 0.95 * BOUND,
            {"DDP over gloo": 100 * theirs}, 100 * BOUND,
        )
    )  # fmt: skip
    low, mean, high = interval([b - a for a, b in zip(even.losses, slow.losses, strict=True)])
    unchanged = low <= 0 <= high
    case = "loss after the same samples"
    rows += [
        Row(case, "one slow", middle(slow.losses), "nats", "shown", True, {"even": middle(even.losses)}),
        Row(case, "one slow minus even, mean of the pairs", mean, "nats", "interval has 0", unchanged),
        Row(case, "accuracy, one slow", statistics.mean(slow.accuracies), "%", "shown", True,
            {"even": statistics.mean(even.accuracies)}),
    ]  # fmt: skip
    return rows


def interval(differences: list[float]) -> tuple[float, float, float]:
    """(low, mean, high): of the mean, 95 % by Student's t. One pair alone says nothing."""
    mean = statistics.mean(differences)
    if len(differences) < 2:
        return float("-inf"), mean, float("inf")
    t = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
    half = t.get(len(differences) - 1, 2.2) * statistics.stdev(differences) / len(differences) ** 0.5
    return mean - half, mean, mean + half


def notes(found: dict[str, Found], steps: int) -> list[str]:
    even, slow = found["even"], found["one slow"]
    low, _, high = interval([b - a for a, b in zip(even.losses, slow.losses, strict=True)])

    def spread(values: list[float]) -> str:
        return f"{min(values):.4g} to {max(values):.4g}"

    lengths = f"a batch takes {1e3 * WAIT:g} ms, {1e3 * SLOWER * WAIT:g} ms with the slow worker"
    rates = f"even {spread(even.rates)}, one slow {spread(slow.rates)}; DDP {spread(even.ddp)}, {spread(slow.ddp)}"
    losses = f"even {spread(even.losses)}, one slow {spread(slow.losses)}"
    return [
        f"{steps} batches of 32 a job; {lengths}",
        f"batches/s, ranges: {rates}",
        f"losses: {losses}; difference of {len(even.losses)} pairs, 95 %: {low:.4f} to {high:.4f}",
    ]


if __name__ == "__main__":
    main()
