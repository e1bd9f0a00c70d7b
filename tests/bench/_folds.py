"""The task digits in folds: every image is tested once, by a model that has not seen it; and synchronous training."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from deepseek_runtime import schedule
from deepseek_runtime.contract.config import Optimizer, Training
from deepseek_runtime.evaluation import evaluate_model
from deepseek_runtime.optimizers import build_optimizer
from deepseek_runtime.random_state import seed_range, seed_start
from deepseek_runtime.ranges import RangePlan
from deepseek_runtime.tasks.digits import Digits
from deepseek_runtime.tasks.task import Split, Task

FOLDS = 5


@lru_cache(maxsize=1)
def _images() -> tuple[torch.Tensor, torch.Tensor]:
    whole = Digits()
    parts = [whole.dataset(split).tensors for split in ("train", "test")]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


class Fold(Task):
    """`fold` of FOLDS of the images, shuffled by `seed`, is the test set; the model is the digits example's."""

    def __init__(self, fold: int, seed: int, width: int = 16) -> None:
        self._digits = Digits(width=width)
        images, labels = _images()
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))
        test = torch.zeros(len(labels), dtype=torch.bool)
        test[order[fold::FOLDS]] = True
        self._parts = {
            "train": TensorDataset(images[~test], labels[~test]),
            "test": TensorDataset(images[test], labels[test]),
        }

    def model(self) -> nn.Module:
        return self._digits.model()

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        return self._digits.loss(model, batch)

    def dataset(self, split: Split) -> TensorDataset:
        return self._parts[split]

    def collate(self, samples: list[Any]) -> Any:
        return self._digits.collate(samples)

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        """right: test images recognised; tested: their number."""
        images, labels = self._parts["test"].tensors
        right = (model(images).argmax(1) == labels).sum()
        return {"right": float(right), "tested": float(len(labels))}


def synchronous(task: Task, training: Training, workers: int) -> dict[str, float]:
    """Plain PyTorch: the mean gradient of the next `workers` batches in the job's order, one optimizer step.

    BatchNorm sees each batch by itself, as in data-parallel training.
    """
    assert training.steps is not None
    seed_start(training.seed)
    model = task.model()
    dataset = task.dataset("train")
    config = training.optimizer or Optimizer()
    optimizer = build_optimizer(config, model)
    plan = RangePlan(len(dataset), training.batch_size, 1, training.steps, training.seed)
    for first in range(0, plan.count, workers):
        turn = range(first, min(first + workers, plan.count))
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate(config, first, plan.count)
        for g in turn:
            seed_range(training.seed, g)
            batch = task.collate([dataset[int(index)] for index in plan.batches(g)[0]])
            (task.loss(model, batch) / len(turn)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return evaluate_model(model, task.evaluate)
