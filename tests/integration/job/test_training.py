"""Ways to train, on real members: lower precisions, and gradients pushed to an optimizer at the servers."""

import pytest

from builders.real_jobs import Jobs, ended, told

DIGITS = {"task": "deepseek_runtime.tasks.digits:Digits", "batchSize": 32}


def test_lower_precision(jobs: Jobs, subtests: pytest.Subtests) -> None:
    optimizer = {"name": "adamw", "lr": 2e-3}
    folders = {
        compute: jobs.start(
            {**DIGITS, "args": {"width": 8}, "steps": 200, "optimizer": optimizer, "precision": {"compute": compute}},
            name=compute,
        )
        for compute in ("float16", "bfloat16")
    }
    for compute, folder in folders.items():
        with subtests.test(compute):
            status = ended(folder)
            assert (status.phase, status.restarts_total) == ("Succeeded", 0), told(folder)
            assert status.progress is not None
            assert status.progress.metrics["accuracy"] > 0.7
            assert (status.progress.loss_scale is not None) == (compute == "float16")


def test_gradients_to_the_servers(jobs: Jobs) -> None:
    folder = jobs.start(
        {
            **DIGITS,
            "steps": 1200,
            "optimizer": {"name": "sgd", "lr": 0.05, "schedule": "cosine", "warmupSteps": 50},
            "update": {"mode": "gradient"},
            "compression": {"method": "topk", "ratio": 0.05, "valueBits": 2},
        },
        servers=2,
        workers=2,
    )
    status = ended(folder)
    assert (status.phase, status.restarts_total) == ("Succeeded", 0), told(folder)
    assert status.progress is not None
    assert status.progress.metrics["accuracy"] > 0.9
    assert status.progress.wire_bytes < status.progress.dense_bytes / 10


def test_gradients_to_adamw_at_the_servers(jobs: Jobs) -> None:
    """Dense, three workers: what they are given looks ahead of the others' pushes."""
    folder = jobs.start(
        {
            **DIGITS,
            "args": {"width": 8},
            "steps": 600,
            "optimizer": {"name": "adamw", "lr": 2e-3, "schedule": "cosine", "warmupSteps": 60},
            "update": {"mode": "gradient"},
            "compression": {"method": "none"},
        },
        servers=2,
        workers=3,
    )
    status = ended(folder)
    assert (status.phase, status.restarts_total) == ("Succeeded", 0), told(folder)
    assert status.progress is not None
    assert status.progress.metrics["accuracy"] > 0.9


LOCAL = {"optimizer": {"name": "adamw", "lr": 2e-3}, "update": {"localSteps": 4}}
GRADIENT = {
    "optimizer": {"name": "sgd", "lr": 0.05, "clipNorm": 1.0, "warmupSteps": 50},
    "update": {"mode": "gradient"},
}
WAYS = {
    "four-bits-published-rarely": {
        **LOCAL,
        "compression": {
            "method": "topk",
            "valueBits": 4,
            "publishEvery": 1.0,
            "rules": [{"match": "*.weight", "method": "quantised", "valueBits": 4}],
        },
    },
    "one-bit": {**LOCAL, "compression": {"method": "quantised", "valueBits": 1}},
    "low-rank": {**LOCAL, "compression": {"method": "lowrank", "rank": 2}},
    "deep-gradient-compression": {
        **GRADIENT,
        "compression": {"method": "dgc", "ratio": 0.01, "warmupSteps": 200, "momentum": 0.9},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_ways_to_compress(jobs: Jobs, way: str) -> None:
    folder = jobs.start({**DIGITS, "steps": 1200, **WAYS[way]}, name=way, servers=2, workers=2)
    status = ended(folder)
    assert (status.phase, status.restarts_total) == ("Succeeded", 0), told(folder)
    assert status.progress is not None
    print(way, status.progress.metrics, status.progress.dense_bytes / status.progress.wire_bytes)
    assert status.progress.metrics["accuracy"] > 0.9
