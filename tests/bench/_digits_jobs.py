"""The same runs of `bench-accuracy` as jobs of real processes: two servers, four workers, an etcd."""

import tempfile
from pathlib import Path

import yaml

from bench._digits_runs import METHODS, SPEEDS, Run
from deepseek_operator import launch
from deepseek_operator.api.load import parse_manifest

WITHIN = 600.0
"""Seconds: a job that takes longer hangs."""


def play_as_job(run: Run) -> float:
    """How many of the fold's test images the job's model recognises. Raises RuntimeError when it does not succeed."""
    method = METHODS[run.method]
    assert method.update is not None
    update, compression = method.update, method.compression
    optimizer: dict[str, object] = {
        "name": method.optimizer, "lr": run.rate, "schedule": "cosine", "warmupSteps": run.steps // 5
    }  # fmt: skip
    if update.mode == "local":
        optimizer["momentum"] = method.momentum
    sparse = {"ratio": compression.ratio, "valueBits": compression.value_bits} if compression.method == "topk" else {}
    training: dict[str, object] = {
        "task": "_folds:Fold",
        "code": {"folder": "."},
        "args": {"fold": run.fold, "seed": run.seed},
        "steps": run.steps,
        "batchSize": 32,
        "seed": run.seed,
        "optimizer": optimizer,
        "update": {"mode": update.mode, "localSteps": update.local_steps},
        "compression": {"method": compression.method, **sparse},
    }
    if update.mode == "gradient" and method.optimizer == "sgd":
        training["update"] = {"mode": "gradient", "momentum": update.momentum}
    manifest = {
        "apiVersion": "deepseek.dev/v1alpha1",
        "kind": "DeepseekJob",
        "metadata": {"name": "fold"},
        "spec": {"servers": {"replicas": 2}, "workers": {"replicas": len(SPEEDS)}, "training": training},
    }
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory(prefix="bench-accuracy-") as scratch:
        parsed = parse_manifest(yaml.safe_dump(manifest), str(here / "fold.yaml"), here)
        folder = launch.start(parsed, Path(scratch))
        try:
            folder.wait(WITHIN)
        finally:
            if folder.alive():
                folder.request_stop(drain=False)
                folder.wait(30.0)
        status = folder.status()
        if status.phase != "Succeeded" or status.progress is None:
            raise RuntimeError(f"{run}: the job ended as {status.phase}: {status.message}")
        return status.progress.metrics["right"]
