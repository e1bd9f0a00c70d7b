"""python -m simulator --seed N --trace, or --seeds COUNT [--first N]."""

import argparse
import sys
import time
from collections import Counter
from statistics import median

from simulator.schedule import run, shape_of


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulator", description="random schedules of the protocol")
    parser.add_argument("--seed", type=int, help="one schedule")
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--trace", action="store_true", help="print what happened")
    options = parser.parse_args()
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    began = time.perf_counter()
    bad = 0
    counts: Counter[str] = Counter()
    numbers, longest = [], 0.0
    for seed in seeds:
        outcome = run(seed, options.trace)
        counts.update(set(outcome.faults))
        numbers.append(len(outcome.faults))
        longest = max(longest, outcome.after)
        for line in outcome.log:
            print(line)
        if outcome.violation:
            bad += 1
            print(f"seed {seed}: {outcome.violation}   faults: {', '.join(outcome.faults)}", flush=True)
        if options.seed is not None:
            print(shape_of(seed), f"{outcome.seconds:.1f} s, {outcome.events} events, {outcome.after:.1f} s after")
    took = time.perf_counter() - began
    print(
        f"{len(numbers)} schedules, {bad} violations, median of {median(numbers)} faults, {len(numbers) / took:.1f}/s"
    )
    if options.seed is None:
        for kind, count in counts.most_common():
            print(f"  {100 * count / len(numbers):5.1f} % {kind}")
        print(f"  the slowest finished {longest:.0f} s after its last fault")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
