"""`make bench-loss-guard`: what loss calibration saves when a run goes wrong, and that it leaves healthy runs alone.

Faults in the middle of digits runs (_loss_faults.py), each with the guard, without it, and, as a rival, without it but
with gradients clipped. The float16 runs have the loss scaler in all three. A run reaches the target when its test
accuracy is within POINTS of the mean of healthy, unguarded runs of the same kind. Results are kept in
build/bench/loss-guard.jsonl: a run that is done is not done again.

SEEDS: runs a fault and way (20). HEALTHY: healthy runs a kind for the target (10). STEPS: of all healthy, guarded runs
(30000). PROCESSES: how many at once (the cores).
"""

import json
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from bench._loss_faults import MODES, Fault, Guarded, Mode, Run, play
from bench._table import Row, machine, publish

RUNS = Path(os.environ.get("RUNS") or "build/bench/loss-guard.jsonl")
POINTS: Final = 3.0
LONG: Final = 5000
"""Steps of a healthy, guarded run."""
WAYS: Final[tuple[Guarded, ...]] = ("act", "off", "clip")
KINDS: Final[tuple[Mode, ...]] = ("local", "gradient", "half")
Done = dict[Run, dict[str, float]]


def main() -> int:
    where = machine()
    seeds = range(1, 1 + int(os.environ.get("SEEDS") or 20))
    plain = range(101, 101 + int(os.environ.get("HEALTHY") or 10))
    count = -(-int(os.environ.get("STEPS") or 30_000) // LONG)
    RUNS.parent.mkdir(parents=True, exist_ok=True)
    done: Done = {}
    if RUNS.exists():
        for line in RUNS.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            done[Run(**row["run"])] = row["result"]
    long = [Run("none", "act", 201 + place, KINDS[place % len(KINDS)], LONG) for place in range(count)]
    healthy = [Run("none", "off", seed, mode) for seed in plain for mode in KINDS]
    # Seed by seed, so that what is cut short still compares.
    faulty = [Run(fault, way, seed, MODES[fault]) for seed in seeds for fault in MODES for way in WAYS]
    train([*long, *healthy, *faulty], done)
    target = {mode: mean(accuracy(done[one]) for one in healthy if one.mode == mode) - POINTS for mode in KINDS}
    rows = [row for fault in MODES for row in compare(fault, seeds, target[MODES[fault]], done)]
    alarms = sum(done[one]["LossImplausible"] for one in long)
    case, goal = f"healthy, {count * LONG:,} steps", "none"
    rows.append(Row(case, "false alarms", alarms, "", goal, alarms == 0))
    reached = [accuracy(done[one]) >= target[one.mode] for one in healthy]
    share = 100.0 * sum(reached) / len(reached)
    rows.append(Row("healthy, unguarded", "reach the target", share, "%", "shown", True))
    text = ", ".join(f"{mode} {value:.1f} %" for mode, value in target.items())
    notes = [f"target: {POINTS:g} points under the mean of {len(plain)} healthy runs: {text}"]
    publish("loss-guard", rows, where, [*notes, *(acts(fault, seeds, done) for fault in MODES)])
    return 0


def compare(fault: Fault, seeds: Iterable[int], target: float, done: Done) -> Iterable[Row]:
    """How many runs reach the target; their mean accuracy."""
    found = {way: [accuracy(done[Run(fault, way, seed, MODES[fault])]) for seed in seeds] for way in WAYS}
    share = {way: 100.0 * sum(one >= target for one in values) / len(values) for way, values in found.items()}
    rivals = {"unguarded": share["off"], "clipped at 1": share["clip"]}
    holds = share["act"] >= 80.0 and share["off"] <= 40.0
    yield Row(fault, "reach the target", share["act"], "%", ">= 80 %, unguarded <= 40 %", holds, rivals)
    rivals = {"unguarded": mean(found["off"]), "clipped at 1": mean(found["clip"])}
    yield Row(fault, "mean accuracy", mean(found["act"]), "%", "shown", True, rivals)


def acts(fault: Fault, seeds: Iterable[int], done: Done) -> str:
    """What the guard did, on average of a run."""
    runs = [done[Run(fault, "act", seed, MODES[fault])] for seed in seeds]
    named = {
        "alarms": "LossImplausible",
        "skipped ranges": "skipped",
        "smaller steps": "StepShrunk",
        "roll-backs": "back",
        "ends of precautions": "LossCalm",
    }
    return f"{fault}, a run: " + ", ".join(
        f"{name} {mean(one[key] for one in runs):.1f}" for name, key in named.items()
    )


def accuracy(result: dict[str, float]) -> float:
    """0 for a run whose weights are not finite: it recognises nothing."""
    return 100.0 * result.get("right", 0.0) / max(1.0, result.get("tested", 0.0))


def mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def train(runs: Iterable[Run], done: Done) -> None:
    waiting = [run for run in runs if run not in done]
    if not waiting:
        return
    began = time.monotonic()
    processes = int(os.environ.get("PROCESSES") or os.cpu_count() or 1)
    with (
        ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool,
        RUNS.open("a", encoding="utf-8") as file,
    ):
        futures = {pool.submit(play, run): run for run in waiting}
        for count, future in enumerate(as_completed(futures), 1):
            run = futures[future]
            done[run] = future.result()
            file.write(json.dumps({"run": run._asdict(), "result": done[run]}) + "\n")
            file.flush()
            if count % 20 == 0:
                print(f"{count} of {len(waiting)} runs, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
