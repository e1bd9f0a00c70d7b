"""One job of task `tally` under a seeded list of faults, with real processes.

python -m chaos.run --seed 7 [--faults 10] [--compression topk]
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from chaos.check import violations
from chaos.faults import FAULTS, Target
from deepseek_operator import launch
from deepseek_operator.api.status import JobStatus
from deepseek_operator.state_folder import StateFolder
from deepseek_runtime.contract.config import Timing
from deepseek_runtime.contract.names import ROLES, Role

Compression = Literal["none", "topk"]
QUICK = Timing(
    heartbeat=0.5,
    worker_lost=3.0,
    registration_ttl=5.0,
    progress=0.2,
    moments=5.0,
    evaluator=20.0,
    residual=5.0,
    resend=1.0,
)
MANIFEST = """
apiVersion: deepseek.dev/v1alpha1
kind: DeepseekJob
metadata: {{name: {name}}}
spec:
  servers: {{replicas: {servers}}}
  workers: {{replicas: 3, min: 1, max: 8}}
  training:
    task: deepseek_runtime.tasks.tally:Tally
    args: {{rows: 8, samples: 1024}}
    steps: {steps}
    batchSize: 16
    seed: {seed}
    optimizer: {{name: sgd, lr: 1}}
    update: {{mode: local, localSteps: 4, weight: one}}
    compression: {{{compression}}}
  checkpoint: {{everySteps: {every}, keep: 2}}
  runPolicy: {{backoffLimit: 1000}}
"""


@dataclass(slots=True)
class Outcome:
    seed: int
    compression: Compression
    faults: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest: float = 0.0
    """Seconds: the longest time from a fault until ranges were done again."""


def choose(seed: int, count: int) -> list[str]:
    """Kinds of faults, each kind about equally often over many seeds."""
    chooser = random.Random(seed)
    kinds = list(FAULTS) * (count // len(FAULTS) + 1)
    chooser.shuffle(kinds)
    return kinds[:count]


def run(
    seed: int,
    compression: Compression,
    kinds: Sequence[str],
    root: Path,
    *,
    steps: int = 24_000,
    patience: float = 120.0,
) -> Outcome:
    """Runs the job to its end. A job that does not get on for `patience` seconds is a violation."""
    name = f"tally-{seed}"
    outcome = Outcome(seed, compression)
    text = "method: none" if compression == "none" else "method: topk, ratio: 0.05, valueBits: 32"

    def manifest(servers: int) -> Path:
        path = root / f"{name}.yaml"
        job = MANIFEST.format(
            name=name, servers=servers, steps=steps, seed=seed, compression=text, every=max(4, steps // 24)
        )
        path.write_text(job, encoding="utf-8")
        return path

    began = time.monotonic()
    _let_members_find_this_package()
    commands: dict[Role, tuple[str, ...]] = {role: (sys.executable, "-m", "faults.linked", role) for role in ROLES}
    folder = launch.start(manifest(2), root / "jobs", timing=QUICK, commands=commands)
    target = Target(folder, manifest, random.Random(seed))
    try:
        for place, kind in enumerate(kinds):
            if not _reach(folder, steps * (0.04 + 0.9 * place / len(kinds)), patience, outcome):
                break
            said = FAULTS[kind](target)
            outcome.kinds.append(kind)
            outcome.faults.append(f"{time.monotonic() - began:6.1f} s  step {_step(folder.status()):6d}  {said}")
            print(outcome.faults[-1], flush=True)
            outcome.slowest = max(outcome.slowest, _time_to_go_on(folder, patience))
        target.settle()
        if not outcome.violations:
            _finish(folder, patience, outcome)
        if not outcome.violations:
            outcome.violations += violations(folder, compression == "none")
    finally:
        target.settle()
        if folder.alive():
            folder.request_stop(drain=False)
            folder.wait(30.0)
    outcome.seconds = time.monotonic() - began
    return outcome


def _let_members_find_this_package() -> None:
    """They inherit PYTHONPATH; pytest's own path is this process's alone."""
    folder = str(Path(__file__).parents[1])
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if folder not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, known), folder])


def _step(status: JobStatus) -> int:
    return status.progress.step if status.progress is not None else 0


def _reach(folder: StateFolder, step: float, patience: float, outcome: Outcome) -> bool:
    """Waits until the job is at `step`; False when it ended, or did not get on."""
    last, since = -1, time.monotonic()
    while True:
        status = folder.status()
        now = _step(status)
        if now >= step:
            return True
        if not folder.alive():
            outcome.violations.append(f"the job ended early: {status.phase} {status.message}")
            return False
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() - since > patience:
            outcome.violations.append(f"no progress for {patience:g} s at step {now}: {status.phase} {status.message}")
            return False
        time.sleep(0.05)  # status.json is a file: there is nothing to wait on


def _time_to_go_on(folder: StateFolder, patience: float) -> float:
    """Seconds until the step has moved twice, so that what was under way at the fault does not count."""
    began = time.monotonic()
    moves, last = 0, _step(folder.status())
    while moves < 2 and time.monotonic() - began < patience and folder.alive():
        time.sleep(0.05)  # as above
        now = _step(folder.status())
        if now != last:
            moves, last = moves + 1, now
    return time.monotonic() - began


def _finish(folder: StateFolder, patience: float, outcome: Outcome) -> None:
    steps = folder.job().spec.training.steps or 0
    if not _reach(folder, steps, patience, outcome):
        return
    if not folder.wait(patience):
        outcome.violations.append(f"all steps are done, but the job does not end: {folder.status().message}")
    elif folder.status().phase != "Succeeded":
        outcome.violations.append(f"the job ended as {folder.status().phase}: {folder.status().message}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=10)
    parser.add_argument("--compression", choices=["none", "topk"], default="none")
    parser.add_argument("--kinds", nargs="*", choices=list(FAULTS))
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dsj-chaos-") as scratch:
        root = given.keep or Path(scratch)
        root.mkdir(parents=True, exist_ok=True)
        outcome = run(given.seed, given.compression, given.kinds or choose(given.seed, given.faults), root)
    print(f"{outcome.seconds:.1f} s, {len(outcome.faults)} faults, slowest {outcome.slowest:.1f} s")
    for violation in outcome.violations:
        print("VIOLATION", violation)
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
