"""What really trains in virtual time is what trains elsewhere, and staleness is real."""

import pytest

from bench._folds import Fold
from deepseek_runtime.alone import Alone
from deepseek_runtime.contract.config import Compression, Optimizer, Training, Update
from deepseek_runtime.tasks.task import run_task
from simulator.training import Course, TrainingJob

OPTIMIZER = Optimizer(name="adamw", lr=2e-3, warmup_steps=8)
DENSE = Compression(method="none")


def training(mode: Update, compression: Compression = DENSE, steps: int = 40) -> Training:
    return Training(steps=steps, batch_size=32, seed=3, optimizer=OPTIMIZER, update=mode, compression=compression)


@pytest.mark.parametrize(
    "update", [Update(local_steps=4), Update(mode="gradient", local_steps=1)], ids=["local", "gradient"]
)
def test_one_worker_trains_what_a_session_alone_trains(update: Update) -> None:
    task = Fold(0, 7, width=4)
    alone = Alone(training(update))
    run_task(task, alone)
    metrics = TrainingJob(Course(task, training(update), (1.0,), servers=2, fast=False)).train()
    assert metrics == alone.metrics[-1][1]


def test_four_workers_train_on_what_three_others_have_pushed_since() -> None:
    course = Course(Fold(0, 7, width=4), training(Update(local_steps=2), Compression(), 80), (1.0, 0.9, 0.75, 0.5))
    job = TrainingJob(course)
    assert job.train()["tested"] == 360
    assert len(job.watch.stale) == job.settings.plan(1797 - 360).count
    assert 2.0 < sum(job.watch.stale) / len(job.watch.stale) < 3.5
