"""Digits: the split is stratified and fixed, and the net learns."""

import numpy as np
import torch

from deepseek_runtime.alone import Alone
from deepseek_runtime.contract.config import Optimizer, Training
from deepseek_runtime.tasks.digits import Digits, stratified
from deepseek_runtime.tasks.task import run_task


def test_stratified_split() -> None:
    labels = np.repeat(np.arange(3), [10, 20, 31]).astype(np.int64)
    test = stratified(labels, 0.3, seed=0)
    assert [int(test[labels == label].sum()) for label in range(3)] == [3, 6, 9]
    assert np.array_equal(test, stratified(labels, 0.3, seed=0))


def test_every_image_is_in_one_split() -> None:
    train, test = (Digits().dataset(split).tensors for split in ("train", "test"))
    assert len(train[0]) + len(test[0]) == 1797
    assert train[0].shape[1:] == (1, 8, 8)
    assert 0.0 == float(train[0].min()) < float(train[0].max()) == 1.0
    shares = torch.bincount(test[1]) / (torch.bincount(test[1]) + torch.bincount(train[1]))
    assert float((shares - 0.3).abs().max()) < 0.005


def test_learns_in_a_hundred_batches() -> None:
    feed = Alone(Training(steps=100, batch_size=32, optimizer=Optimizer(lr=3e-3, schedule="cosine", warmup_steps=10)))
    session = run_task(Digits(width=12), feed)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in session.model.modules())
    assert feed.metrics[-1][1]["accuracy"] > 0.8
