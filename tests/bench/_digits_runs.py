"""One run of `bench-accuracy`: a method at a learning rate, on one seed and fold."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from bench._folds import Fold, synchronous
from deepseek_runtime.contract.config import Compression, Optimizer, Staleness, Training, Update
from simulator.training import Course, TrainingJob

SPEEDS = (1.0, 0.9, 0.75, 0.5)


class Run(NamedTuple):
    """steps: batches of 32; 900 are 20 epochs."""

    method: str
    rate: float
    seed: int
    fold: int
    steps: int = 900


@dataclass(frozen=True, slots=True)
class Method:
    """momentum: of the server's rule in `gradient`, of the worker's SGD in `local`. asked: the goal is for it."""

    update: Update | None
    compression: Compression
    momentum: float = 0.9
    asked: bool = True
    optimizer: Literal["sgd", "adamw"] = "sgd"


DENSE = Compression(method="none")
SPARSE = Compression(method="topk", ratio=0.05, value_bits=2)
FINER = Compression(method="topk", ratio=0.05, value_bits=16)
LOCAL = Update(mode="local", local_steps=8)
NESTEROV = Update(mode="gradient", local_steps=1, momentum=0.9)
AHEAD = Update(mode="gradient", local_steps=1, look_ahead=2.0)
PLAIN = Update(mode="gradient", local_steps=1, momentum=0.0)
METHODS = {
    "synchronous": Method(None, DENSE),
    "local, Top-5 %, 2 bits": Method(LOCAL, SPARSE),
    "local, dense": Method(LOCAL, DENSE),
    "local of 4, Top-5 %, 2 bits": Method(Update(mode="local", local_steps=4), SPARSE, asked=False),
    "gradient, delayed Nesterov, dense": Method(NESTEROV, DENSE),
    "gradient, delayed Nesterov, Top-5 %, 2 bits": Method(NESTEROV, SPARSE),
    "gradient, delayed Nesterov, Top-5 %, 16 bits": Method(NESTEROV, FINER, asked=False),
    "gradient, no momentum, Top-5 %, 2 bits": Method(PLAIN, SPARSE),
    "gradient, AdamW looking ahead, dense": Method(AHEAD, DENSE, momentum=0.0, optimizer="adamw"),
}
RATES = dict.fromkeys(METHODS, (0.05, 0.1, 0.2))
RATES["gradient, no momentum, Top-5 %, 2 bits"] = (0.5, 1.0, 2.0)
RATES["gradient, AdamW looking ahead, dense"] = (0.001, 0.002, 0.004)


def play(run: Run) -> float:
    """How many of the fold's test images are recognised."""
    torch.set_num_threads(1)
    method = METHODS[run.method]
    optimizer = Optimizer(
        name=method.optimizer, lr=run.rate, momentum=method.momentum, schedule="cosine", warmup_steps=run.steps // 5
    )
    training = Training(
        steps=run.steps,
        batch_size=32,
        seed=run.seed,
        optimizer=optimizer,
        update=method.update or Update(),
        staleness=Staleness(mode="bounded", max=16),
        compression=method.compression,
    )
    task = Fold(run.fold, run.seed)
    if method.update is None:
        return synchronous(task, training, len(SPEEDS))["right"]
    return TrainingJob(Course(task, training, SPEEDS), run.seed).train()["right"]
