"""`make bench-accuracy-lm`: asynchronous training with few bytes against synchronous training, on a language model.

A byte-level GPT of 10.8 M parameters from scratch, 60 M tokens, workers of uneven speed, in virtual time on one GPU
(_lm). Groups that are done stand in build/bench/accuracy-lm.jsonl and are not run again. Without a GPU nothing is
trained: the table is made from what stands there.

WITHIN=seconds: no group is begun that would not end within them. SEARCH=1: the runs by which the settings were found,
on other seeds. QUICK=1: a tiny model on a few bytes, on a CPU too, to see that the benchmark works.
"""

import os
import sys
import time
from pathlib import Path

import torch

from bench._lm.groups import Results, Runner
from bench._lm.model import GPT
from bench._lm.plan import main_plan, quick_plan, search_plan
from bench._lm.report import report
from bench._table import machine

RUNS = Path(os.environ.get("RUNS") or "build/bench/accuracy-lm.jsonl")
HELD_OUT = 2048
"""Windows of 256 bytes."""


def main() -> int:
    where = machine()
    began = time.monotonic()
    within = float(os.environ.get("WITHIN") or "inf")
    quick, search = bool(os.environ.get("QUICK")), bool(os.environ.get("SEARCH"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    path = RUNS.with_name(f"accuracy-lm-{'quick' if quick else 'search'}.jsonl") if quick or search else RUNS
    path.parent.mkdir(parents=True, exist_ok=True)
    results = Results.read(path)
    groups = quick_plan() if quick else search_plan() if search else main_plan()
    waiting = [group for group in groups if group.key() not in results.lines]
    if waiting and (device == "cuda" or quick):
        torch.backends.cuda.matmul.allow_tf32 = True
        gpt = GPT(layers=2, heads=2, width=64, context=64) if quick else GPT()
        runner = Runner(gpt, device, 64 if quick else HELD_OUT, say)
        slowest = 0.0
        for group in waiting:
            left = within - (time.monotonic() - began)
            work = group.batches * len(group.lanes)
            if slowest * work * 1.1 > left:
                say(f"{group.name}: not begun, {left:.0f} s are left")
                continue
            say(f"{group.name} ({len(group.lanes)} lanes, {group.batches} batches)")
            line = runner.run(group)
            results.add(line)
            slowest = max(slowest, line["seconds"] / work)
            say(f"  {line['seconds']:.1f} s; {time.monotonic() - began:.0f} s in all")
    elif waiting:
        say(f"no GPU: {len(waiting)} of {len(groups)} groups are not done")
    if search or quick:
        for line in results.lines.values():
            for lane, loss in zip(line["group"]["lanes"], line["outcome"]["losses"], strict=True):
                say(f"{line['group']['name']}: {loss:.4f} {lane}")
    if not search:
        report(groups, results, where)
    return 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
