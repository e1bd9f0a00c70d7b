"""`make bench-precision`: memory, speed and loss of a bytelm's step on a GPU, in FP32 and in FP16.

Ours is a session as a script or task has it, with masters on the device and on the host (`precision.masters`); beside
it plain loops, in FP32 and with torch.autocast and GradScaler. Same weights, batches, optimizer and schedule; seeds are
the interleaved rounds. Runs stand in $RUNS (default build/bench/precision-runs.jsonl) as soon as they are done, and are
not run again.

It needs a GPU: without one the table is made from what stands in $RUNS. WITHIN=seconds (default 85): no run is begun
that would not end within them. PRECISION_STEPS: steps of a run (default 200); without a GPU it trains a tiny model on
the CPU, only to see that the benchmark works.
"""

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from bench._precision import COLD, OTHERS, WAYS, Run, Size, Way, run, warm_up
from bench._table import Row, machine, publish

GOAL = 40.0
"""Percent less memory."""
MAIN = Size("bytelm, 10.8 M, 64 windows of 256", 6, 6, 384, 256, 64)
LARGE = Size("bytelm, 85 M, 16 windows of 256", 12, 12, 768, 256, 16)
TINY = Size("bytelm, tiny, on a CPU", 1, 2, 32, 32, 2)
SEEDS = 3
SHORT, LARGE_STEPS = COLD + 32, COLD + 16
FP32, FP16, HOST, AMP = (way.name for way in WAYS)
TORCH = OTHERS[0].name


def main() -> int:
    where = machine()
    began = time.monotonic()
    gpu = torch.cuda.is_available()
    given = os.environ.get("PRECISION_STEPS")
    path = Path(os.environ.get("RUNS") or "build/bench/precision-runs.jsonl")
    if not gpu and given:
        path = path.with_name("precision-tiny.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    done = _read(path)
    if gpu or given:
        device = torch.device("cuda" if gpu else "cpu")
        warm_up(device)
        _say(f"warm after {time.monotonic() - began:.1f} s")
        _run_all(path, done, device, int(given or 200), began + float(os.environ.get("WITHIN") or 85))
    if not done:
        sys.exit("bench-precision needs a GPU: there is none here, and no runs of one in " + str(path))
    rows = [*_main_rows(done, MAIN if MAIN.name in {one.size for one in done} else TINY), *_large_rows(done)]
    publish("precision", rows, where, _notes(done))
    return 0


def _run_all(path: Path, done: list[Run], device: torch.device, steps: int, until: float) -> None:
    slowest: dict[tuple[str, str], float] = {}
    for size, way, seed, count, windows in _plan(device, steps):
        if any((one.size, one.way, one.seed, one.steps) == (size.name, way.name, seed, count) for one in done):
            continue
        left = until - time.monotonic()
        if slowest.get((size.name, way.name), 0.0) * 1.1 > left or left < 0:
            _say(f"{size.name}, {way.name}, seed {seed}: not begun, {left:.0f} s are left")
            continue
        one = run(size, way, seed, count, device, eval_windows=windows)
        done.append(one)
        slowest[size.name, way.name] = one.seconds
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(one.line()) + "\n")
        _say(
            f"{size.name}, {way.name}, seed {seed}: peak {one.peak / 1e6:,.0f} MB, after a backward "
            f"{one.held / one.parameters:.2f} B a parameter, {one.steps_a_second:.1f} steps/s, loss {one.loss:.4f}, "
            f"{one.seconds:.1f} s"
        )


def _plan(device: torch.device, steps: int) -> Iterator[tuple[Size, Way, int, int, int]]:
    """size, way, seed, steps, windows to evaluate; what matters most first."""
    gpu = device.type == "cuda"
    size = MAIN if gpu else TINY
    windows = 512 if gpu else 8
    for seed in range(SEEDS):
        for way in WAYS:
            yield size, way, seed, steps, windows
        if seed == 0:
            for way in OTHERS:
                yield size, way, seed, min(steps, SHORT), 0
            for way in WAYS if gpu else ():
                yield LARGE, way, 0, LARGE_STEPS, 0


def _main_rows(done: list[Run], size: Size) -> list[Row]:
    runs = {way.name: [one for one in done if (one.size, one.way) == (size.name, way.name)] for way in WAYS + OTHERS}
    rows = _memory_rows(size.name, runs)
    speed = {name: statistics.median(one.steps_a_second for one in ones) for name, ones in runs.items() if ones}
    for name in (HOST, FP16, FP32):
        if name in speed:
            rates = [one.steps_a_second for one in runs[name]]
            goal = f"shown; {min(rates):.1f} to {max(rates):.1f} of {len(rates)}"
            rivals = {rival: speed[rival] for rival in (FP32, AMP, TORCH) if rival in speed and rival != name}
            rows.append(Row(size.name, f"steps a second, {name}", speed[name], "", goal, True, rivals))
    losses = {name: {one.seed: one.loss for one in ones if math.isfinite(one.loss)} for name, ones in runs.items()}
    for name in (HOST, FP16):
        row = _loss_row(size.name, name, losses)
        if row is not None:
            rows.append(row)
    return rows


def _memory_rows(case: str, runs: dict[str, list[Run]]) -> list[Row]:
    peak = {name: statistics.median(one.peak for one in ones) / 1e6 for name, ones in runs.items() if ones}
    held = {name: statistics.median(one.held / one.parameters for one in ones) for name, ones in runs.items() if ones}
    rows = []
    for name in (HOST, FP16):
        if name not in peak or not peak.get(FP32):
            continue
        less = 100 * (1 - peak[name] / peak[FP32])
        rivals = {rival: peak[rival] for rival in peak if rival != name}
        rows.append(Row(case, f"peak memory, {name}", peak[name], "MB", "shown", True, rivals))
        goal = f">= {GOAL:g} %"
        rows.append(
            Row(
                case,
                f"less than fp32, {name}",
                less,
                "%",
                goal if name == HOST else "shown",
                name != HOST or less >= GOAL,
            )
        )
        rows.append(
            Row(
                case,
                f"a parameter on the GPU, {name}",
                held[name],
                "bytes",
                "shown",
                True,
                {r: held[r] for r in held if r != name},
            )
        )
    return rows


def _loss_row(case: str, name: str, losses: dict[str, dict[int, float]]) -> Row | None:
    """Noise: the seeds' standard deviation in fp32. The mean of the paired differences must be within it."""
    seeds = sorted(losses[name].keys() & losses[FP32].keys())
    if len(seeds) < 2:
        return None
    pairs = [losses[name][seed] - losses[FP32][seed] for seed in seeds]
    noise = statistics.stdev(losses[FP32][seed] for seed in seeds)
    mean = statistics.mean(pairs)
    goal = f"within fp32's seeds (sd {noise:.4f}); by seed {', '.join(f'{one:+.4f}' for one in pairs)}"
    rivals = {
        rival: statistics.mean(losses[rival][seed] - losses[FP32][seed] for seed in seeds)
        for rival in (AMP, TORCH)
        if set(seeds) <= losses[rival].keys()
    }
    return Row(case, f"loss above fp32's, {name}", mean, "nats", goal, abs(mean) <= noise, rivals)


def _large_rows(done: list[Run]) -> list[Row]:
    runs = {way.name: [one for one in done if (one.size, one.way) == (LARGE.name, way.name)] for way in WAYS}
    rows = _memory_rows(LARGE.name, runs)
    speed = {name: ones[0].steps_a_second for name, ones in runs.items() if ones}
    if HOST in speed:
        rivals = {name: rate for name, rate in speed.items() if name != HOST}
        rows.append(Row(LARGE.name, f"steps a second, {HOST}", speed[HOST], "", "shown", True, rivals))
    return rows


def _notes(done: list[Run]) -> list[str]:
    cards = ", ".join(sorted({one.device for one in done}))
    main = next((one for one in done if one.way == FP32), done[0])
    losses = [f"{one.way}, seed {one.seed}: {one.loss:.4f}" for one in done if math.isfinite(one.loss)]
    about = (
        f"{cards}, torch {torch.__version__}; {main.parameters:,} parameters, {main.steps} steps; TF32 off in fp32. "
        f"Memory: torch's allocator from step {COLD} on, without the {main.workspace / 1e6:.0f} MB that libraries "
        "took before; a parameter: right after a backward, with gradients."
    )
    skipped = "; ".join(f"{one.way}, seed {one.seed}: {one.skipped}" for one in done if one.skipped) or "none"
    return [
        about,
        f"Held-out loss, nats a byte: {'; '.join(losses)}",
        f"Batches that GradScaler skipped, ranges that ours gave up: {skipped}",
    ]


def _read(path: Path) -> list[Run]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Run(**json.loads(line)) for line in lines]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
