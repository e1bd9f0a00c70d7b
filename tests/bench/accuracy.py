"""`make bench-accuracy`: asynchronous training of the task digits against synchronous SGD, at equal samples.

In virtual time (tests/simulator/training.py) the product's own ledger, spans, codecs, rules and sessions train, four
workers of uneven speed; beside it plain synchronous SGD on the same batches (_folds.py). Each seed trains five folds,
so that every one of the 1,797 images is tested once; each rule's learning rate is chosen on seeds of its own.
Results are kept in build/bench/accuracy.jsonl: a run that is done is not done again.

SEEDS: how many (24). STEPS: batches of 32 a run (900: 20 epochs). PROCESSES: how many at once (the cores).
JOBS=0: without the five folds of the first seed as jobs of real processes, one after the other (_digits_jobs.py).
"""

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from bench._digits_runs import METHODS, RATES, Run, play
from bench._folds import FOLDS
from bench._table import Row, machine, publish

RUNS = Path(os.environ.get("RUNS") or "build/bench/accuracy.jsonl")
SEARCH = (1001, 1002, 1003)
POINTS = 0.3
STEPS = int(os.environ.get("STEPS") or 900)
RIVAL = "synchronous"
DEFAULTS = "local, Top-5 %, 2 bits"
AGREES = 0.6
"""Points; pairs of methods at one seed differ by 0.2 (one standard deviation)."""


def main() -> int:
    where = machine()
    seeds = range(1, 1 + int(os.environ.get("SEEDS") or 24))
    RUNS.parent.mkdir(parents=True, exist_ok=True)
    done: dict[Run, float] = {}
    if RUNS.exists():
        for line in RUNS.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            done[Run(**row["run"])] = row["right"]
    tried = [
        Run(name, rate, seed, fold, STEPS)
        for name in METHODS
        for rate in RATES[name]
        for seed in SEARCH
        for fold in range(FOLDS)
    ]
    train(tried, done)
    best = {name: max(RATES[name], key=lambda rate: right(done, name, rate, SEARCH)) for name in METHODS}
    say(f"learning rates: {best}")
    # Seed by seed, so that what is cut short is still paired.
    train(
        [Run(name, best[name], seed, fold, STEPS) for seed in seeds for name in METHODS for fold in range(FOLDS)], done
    )
    rows = [row for name in METHODS if name != RIVAL for row in compare(done, name, best, seeds)]
    if os.environ.get("JOBS") != "0":
        rows.append(as_jobs(done, DEFAULTS, best[DEFAULTS], seeds[0]))
    publish(
        "accuracy",
        rows,
        where,
        [f"learning rates: {best}", f"{len(seeds)} seeds of {FOLDS} folds, {STEPS} batches of 32"],
    )
    return 0


def train(runs: Iterable[Run], done: dict[Run, float]) -> None:
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
            file.write(json.dumps({"run": run._asdict(), "right": done[run]}) + "\n")
            file.flush()
            if count % 50 == 0:
                say(f"{count} of {len(waiting)} runs, {time.monotonic() - began:.0f} s")


def right(done: dict[Run, float], name: str, rate: float, seeds: Iterable[int]) -> float:
    return sum(done[Run(name, rate, seed, fold, STEPS)] for seed in seeds for fold in range(FOLDS))


def as_jobs(done: dict[Run, float], name: str, rate: float, seed: int) -> Row:
    """Real processes share cores as they come, so not the same weights, but as good ones."""
    from bench._digits_jobs import play_as_job  # the control plane is not needed for the rest

    real = 100 * sum(play_as_job(Run(name, rate, seed, fold, STEPS)) for fold in range(FOLDS)) / IMAGES
    simulated = 100 * right(done, name, rate, [seed]) / IMAGES
    goal = f"within {AGREES:g} points"
    return Row(name, f"seed {seed} as jobs", real, "%", goal, abs(real - simulated) <= AGREES, {"simulated": simulated})


def compare(done: dict[Run, float], name: str, best: dict[str, float], seeds: Iterable[int]) -> list[Row]:
    """Points of accuracy, each seed's folds pooled and paired with the rival's."""
    pooled: dict[str, list[float]] = defaultdict(list)
    for one in (name, RIVAL):
        for seed in seeds:
            pooled[one].append(100 * right(done, one, best[one], [seed]) / IMAGES)
    ours, theirs = np.array(pooled[name]), np.array(pooled[RIVAL])
    mean, half = interval(ours - theirs)
    goal = f"> -{POINTS:g}, interval and all" if METHODS[name].asked else "shown"
    holds = mean - half > -POINTS or not METHODS[name].asked
    lower, upper = mean - half, mean + half
    return [
        Row(name, "accuracy", float(ours.mean()), "%", "shown", True, {RIVAL: float(theirs.mean())}),
        Row(name, f"minus synchronous, 95 %: {lower:+.2f} to {upper:+.2f}", mean, "points", goal, holds),
    ]


IMAGES = 1797


def interval(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> tuple[float, float]:
    """Mean and half of its 95 % interval (Student's t)."""
    from scipy.stats import t

    count = len(values)
    half = float(t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count)) if count > 1 else float("inf")
    return float(values.mean()), half


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
