"""`make bench-exactly-once`: every sample counts once, in the simulator and with real processes under faults.

QUICK=1 does a little of each, to see that the benchmark works.
"""

import os
import statistics
import tempfile
from collections import Counter
from pathlib import Path

from bench._table import Row, machine, publish
from chaos.run import Compression, Outcome, choose, run
from simulator.sweep import mutations, schedules


def main() -> None:
    quick = os.environ.get("QUICK", "") not in ("", "0")
    where = machine()
    simulated = schedules(200 if quick else 20_000, processes=os.cpu_count() or 1)
    missed = mutations()
    outcomes = _real(1 if quick else 12, 4 if quick else 10)
    faults = sum(len(outcome.faults) for outcome in outcomes)
    wrong = [f"seed {outcome.seed}: {text}" for outcome in outcomes for text in outcome.violations]
    kinds = Counter(kind for outcome in outcomes for kind in outcome.kinds)
    needed = 0 if quick else 100
    goal = 200 if quick else 20_000
    rarest = min(simulated.shares.values(), default=0.0)
    rows = [
        Row("simulator", "simulated", simulated.count, "schedules", f">= {goal:,}", simulated.count >= goal),
        Row("simulator", "violations", len(simulated.failures), "", "0", not simulated.failures),
        Row("simulator", "median faults", simulated.median_faults, "a schedule", ">= 4", simulated.median_faults >= 4),
        Row("simulator", "rarest fault", 100 * rarest, "% of schedules", ">= 5", rarest >= 0.05),
        Row("simulator", "mutations", missed.tried, "rules left out", "every rule of the traces", missed.tried > 0),
        Row("simulator", "mutations_missed", len(missed.missed), "", "0", not missed.missed),
        Row("processes", "runs", len(outcomes), "", ">= 10", quick or len(outcomes) >= 10),
        Row("processes", "faults", faults, "", f">= {needed}", faults >= needed),
        Row("processes", "violations", len(wrong), "", "0", not wrong),
        Row(
            "processes",
            "slowest convergence",
            max(outcome.slowest for outcome in outcomes),
            "s until ranges were done again",
            "< 120 (the seed's limit)",
            max(outcome.slowest for outcome in outcomes) < 120,
        ),
    ]
    slowest = sorted(outcome.slowest for outcome in outcomes)
    notes = [
        "kinds of faults with real processes: " + ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())),
        "kinds of faults simulated: " + ", ".join(f"{kind} {share:.0%}" for kind, share in simulated.shares.items()),
        f"convergence, slowest of each run: median {statistics.median(slowest):.1f} s, most {slowest[-1]:.1f} s",
        *wrong,
        *(f"simulated seed {seed}: {text}" for seed, text in simulated.failures[:10]),
        *(f"mutation missed: {name}" for name in missed.missed),
    ]
    publish("exactly-once", rows, where, notes)


def _real(runs: int, faults: int) -> list[Outcome]:
    """Dense and Top-K in turn."""
    outcomes = []
    for seed in range(1, runs + 1):
        compression: Compression = "none" if seed % 2 else "topk"
        print(f"run {seed} of {runs}, {compression}, {faults} faults", flush=True)
        with tempfile.TemporaryDirectory(prefix="dsj-exactly-once-") as scratch:
            outcome = run(seed, compression, choose(seed, faults), Path(scratch))
        print(f"  {outcome.seconds:.0f} s, violations: {outcome.violations or 'none'}", flush=True)
        outcomes.append(outcome)
    return outcomes


if __name__ == "__main__":
    main()
