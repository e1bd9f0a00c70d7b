"""Handwritten digits: 1,797 images of 8 x 8 that scikit-learn ships, a stratified 30 % of them for testing.

A small CNN with BatchNorm, so that running statistics and their counters go through a job like weights.
"""

import importlib.util
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from deepseek_runtime.contract.exit_codes import MISSING_INPUT
from deepseek_runtime.feed import JobRefused
from deepseek_runtime.tasks.task import Split, Task

TEST_SHARE: Final = 0.3
SPLIT_SEED: Final = 0


class Digits(Task):
    """width: channels of the first convolution. dropout: before the last layer."""

    def __init__(self, width: int = 24, dropout: float = 0.1) -> None:
        if width < 1 or not 0 <= dropout < 1:
            raise ValueError(f"width must be at least 1 and dropout in [0, 1), got {width} and {dropout}")
        self._width = width
        self._dropout = dropout

    def model(self) -> nn.Module:
        """[N, 1, 8, 8] to [N, 10]."""
        width = self._width
        return nn.Sequential(
            _block(1, width),
            nn.MaxPool2d(2),
            _block(width, 2 * width),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2 * width * 4, 4 * width),
            nn.ReLU(),
            nn.Dropout(self._dropout),
            nn.Linear(4 * width, 10),
        )

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        images, labels = batch
        return functional.cross_entropy(model(images), labels)

    def dataset(self, split: Split) -> TensorDataset:
        return self._splits[split]

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        """Accuracy (0 to 1) and mean loss on the test split."""
        device = next(model.parameters()).device
        images, labels = (tensor.to(device) for tensor in self._splits["test"].tensors)
        logits = model(images)
        return {
            "accuracy": float((logits.argmax(1) == labels).float().mean()),
            "loss": float(functional.cross_entropy(logits, labels)),
        }

    def collate(self, samples: list[Any]) -> Any:
        images, labels = zip(*samples, strict=True)
        return torch.stack(images), torch.stack(labels)

    @cached_property
    def _splits(self) -> dict[Split, TensorDataset]:
        pixels, labels = _read()
        images = torch.from_numpy(pixels.reshape(-1, 1, 8, 8) / np.float32(16))
        test = stratified(labels, TEST_SHARE, SPLIT_SEED)
        return {
            "train": TensorDataset(images[~test], torch.from_numpy(labels[~test])),
            "test": TensorDataset(images[test], torch.from_numpy(labels[test])),
        }


def stratified(labels: npt.NDArray[np.int64], share: float, seed: int) -> npt.NDArray[np.bool_]:
    """True for `share` of each class, drawn by `seed`."""
    random = np.random.Generator(np.random.Philox(seed))
    chosen = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        chosen[members[: round(share * len(members))]] = True
    return chosen


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def _read() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Pixels [1797, 64], 0 to 16, and labels [1797].

    Read from scikit-learn's own file where it lies as ever: importing the library would take a worker 2 s, which a
    replacement has to wait for.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise JobRefused(
            MISSING_INPUT,
            "DatasetNotFound",
            "the task digits needs scikit-learn, which ships the images: install deepseek-operator[local]",
        )
    path = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    if path.is_file():
        table = np.loadtxt(path, delimiter=",", dtype=np.float32)
        return table[:, :-1], table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return pixels.astype(np.float32), labels.astype(np.int64)
