"""`make demo`: trains `digits` from examples/digits.yaml on this machine, and shows what came of it.

What it runs is `dsj run`, as a person would. With KILL=1 a worker, a server and etcd are killed with SIGKILL at 30, 50
and 70 % of the steps. Leaves build/demo.json and build/demo.png; exit code 0 when the goal is reached and no sample was
lost or repeated.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from deepseek_operator.state_folder import StateBroken, StateFolder, default_state_root
from deepseek_runtime.audit import Audit, audit
from deepseek_runtime.contract.config import load_config
from demo.kills import Killer

ROOT = Path(__file__).parents[2]
GOAL = 0.98
KILLS = [(0.3, "worker", 1), (0.5, "server", 1), (0.7, "etcd", 0)]
"""(share of the steps, role, index)"""
DSJ = [sys.executable, "-m", "deepseek_operator.cli.main"]


def main() -> int:
    kill = os.environ.get("KILL", "") not in ("", "0")
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    plot = build / "demo.png"
    state = build / "demo"
    shutil.rmtree(state, ignore_errors=True)
    os.environ["XDG_STATE_HOME"] = str(state)
    began = time.monotonic()
    folder = StateFolder(default_state_root() / "digits")
    print("digits: 2 servers, 3 workers and an etcd, each a process of its own", flush=True)
    with subprocess.Popen([*DSJ, "run", str(ROOT / "examples" / "digits.yaml")]) as job:
        try:
            killed = _kill(job, folder, Killer(folder, list(KILLS) if kill else []))
            job.wait()
        except KeyboardInterrupt:
            job.wait()  # the same Ctrl-C has reached it: it drains the job
            return 130
    seconds = time.monotonic() - began
    for text in killed:
        print(f"*** {text}")
    if not folder.exists():
        return job.returncode or 1
    subprocess.run([*DSJ, "plot", "digits", "-f", str(plot)], check=False, stdout=subprocess.DEVNULL)
    result = _result(folder, seconds)
    result["plot"] = str(plot.relative_to(ROOT))
    (build / "demo.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return _judge(result, kill)


def _kill(job: subprocess.Popen[bytes], folder: StateFolder, killer: Killer) -> list[str]:
    """Does what is due until nothing is, or the job has ended."""
    while killer.plan and job.poll() is None:
        try:
            progress = folder.status().progress if folder.exists() else None
        except StateBroken:
            progress = None
        if progress is not None:
            killer.look(progress.step, progress.steps)
        time.sleep(0.1)  # status.json is a file: there is nothing to wait on
    return killer.done


def _counted(folder: StateFolder) -> Audit:
    return audit(load_config(folder.config_file(folder.identity().generation)))


def _result(folder: StateFolder, seconds: float) -> dict[str, Any]:
    status = folder.status()
    progress = status.progress
    counted = _counted(folder)
    spec = folder.job().spec
    return {
        "phase": status.phase,
        "message": status.message,
        "accuracy": progress.metrics.get("accuracy", 0.0) if progress else 0.0,
        "seconds": round(seconds, 1),
        "servers": spec.servers.replicas,
        "workers": spec.workers.replicas,
        "wire_bytes": counted.wire_bytes,
        "dense_bytes": progress.dense_bytes if progress else 0,
        "local_steps": progress.local_steps if progress else 1,
        "samples_lost": counted.samples_lost,
        "samples_repeated": counted.samples_repeated,
        "samples_rolled_back": counted.samples_rolled_back,
        "samples_skipped": counted.samples_skipped,
        "residual_lost": counted.residual_lost,
        "pushed": counted.pushed,
        "problems": list(counted.problems),
        "recoveries": [
            {
                "role": recovery.role,
                "index": recovery.index,
                "at_step": recovery.at_step,
                "seconds": recovery.seconds,
                "longest_gap": recovery.longest_gap,
                "restored_step": recovery.restored_step,
            }
            for recovery in status.recoveries
        ],
    }


def _judge(result: dict[str, Any], kill: bool) -> int:
    """Prints the result; 0 when all that the demo promises holds."""
    fewer = result["dense_bytes"] / max(1, result["wire_bytes"])
    steps = result["local_steps"]
    wrong = []
    if result["phase"] != "Succeeded":
        wrong.append(f"the job ended as {result['phase']}: {result['message']}")
    if result["accuracy"] < GOAL:
        wrong.append(f"test accuracy {result['accuracy']:.2%} is below {GOAL:.0%}")
    wrong += [
        f"{name} is {result[name]}, it must be 0" for name in ("samples_lost", "samples_repeated") if result[name]
    ]
    wrong += [f"the count of samples is unsure: {problem}" for problem in result["problems"]]
    unfinished = [recovery for recovery in result["recoveries"] if recovery["seconds"] is None]
    if kill and (len(result["recoveries"]) < len(KILLS) or unfinished):
        wrong.append(f"{len(result['recoveries']) - len(unfinished)} of {len(KILLS)} recoveries were completed")
    print()
    print(f"test accuracy     {result['accuracy']:.2%}   (goal {GOAL:.0%})")
    print(f"time              {result['seconds']:.1f} s")
    print(
        f"bytes both ways   {result['wire_bytes'] / 1e6:.1f} MB, dense {result['dense_bytes'] / 1e6:.1f} MB: "
        f"{fewer:.0f} times fewer ({steps} by local steps, {fewer / steps:.1f} by compression)"
    )
    print(
        f"samples           lost {result['samples_lost']}, repeated {result['samples_repeated']}, rolled back "
        f"{result['samples_rolled_back']}, skipped {result['samples_skipped']}"
    )
    share = result["residual_lost"] / result["pushed"] if result["pushed"] else 0.0
    print(f"residual lost     {share:.3%} of what was pushed")
    for recovery in result["recoveries"]:
        name = recovery["role"] if recovery["role"] == "etcd" else f"{recovery['role']} {recovery['index']}"
        back = "nobody went back" if recovery["restored_step"] is None else f"back to step {recovery['restored_step']}"
        took = "not completed" if recovery["seconds"] is None else f"{recovery['seconds']:.1f} s until it worked again"
        gap = f"longest gap {recovery['longest_gap'] or 0.0:.1f} s"
        print(f"recovery          {name} killed at step {recovery['at_step']}: {took}, {gap}, {back}")
    print(f"plot              {result['plot']}")
    print("figures           build/demo.json")
    print("look round        XDG_STATE_HOME=build/demo .venv/bin/dsj status digits   (export, plot, logs, events ...)")
    for text in wrong:
        print(f"WRONG             {text}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
