"""Batches by index, here or in loader workers: the same ones in the same order."""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, default_collate

from deepseek_runtime.data import Loader, to_device
from deepseek_runtime.ranges import RangePlan

PLAN = RangePlan(samples=20, batch_size=4, local_steps=3, steps=10, seed=1)


class Squares(Dataset[int]):
    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> int:
        return index * index


class Together(Squares):
    def __getitems__(self, indices: list[int]) -> list[int]:
        return [index * index for index in indices]

    def __getitem__(self, index: int) -> int:
        raise AssertionError("one by one")


class Jittered(Squares):
    def __getitem__(self, index: int) -> float:  # type: ignore[override]
        return index + float(torch.rand(())) + random.random() + float(np.random.rand())


def load(dataset: Dataset[Any], workers: int, ranges: list[int], collate: Any = default_collate) -> list[torch.Tensor]:
    loader = Loader(dataset, collate, workers, seed=5)
    batches = [batch for g in ranges for batch in loader.batches(g, PLAN.batches(g))]
    loader.close()
    return batches


@pytest.mark.parametrize("make,workers", [(Squares, 0), (Together, 0), (Squares, 2)])
def test_batches(make: Callable[[], Dataset[int]], workers: int) -> None:
    expected = [torch.from_numpy(indices**2) for g in (0, 2, 1) for indices in PLAN.batches(g)]
    loaded = load(make(), workers, [0, 2, 1])
    assert len(loaded) == 8
    assert all(torch.equal(a, b) for a, b in zip(loaded, expected, strict=True))


def test_loader_workers_draw_by_range_whatever_came_before() -> None:
    first = load(Jittered(), 2, [0, 1])
    again = load(Jittered(), 1, [1])
    assert all(torch.equal(a, b) for a, b in zip(first[3:], again, strict=True))
    assert len({float(value) % 1 for batch in first for value in batch}) == 20


def test_an_abandoned_range_does_not_leak_into_the_next() -> None:
    loader = Loader(Squares(), default_collate, 2, seed=0)
    next(iter(loader.batches(0, PLAN.batches(0))))
    loaded = list(loader.batches(2, PLAN.batches(2)))
    loader.close()
    assert [batch.tolist() for batch in loaded] == [(indices**2).tolist() for indices in PLAN.batches(2)]


class Pair(NamedTuple):
    ids: torch.Tensor
    name: str


def test_to_device_keeps_the_batch_s_shape() -> None:
    one = torch.ones(2)
    batch = {"a": [one, (one, 3)], "b": Pair(one, "x"), "c": None}
    moved = to_device(batch, torch.device("meta"))
    assert moved["a"][0].device.type == moved["a"][1][0].device.type == moved["b"].ids.device.type == "meta"
    assert isinstance(moved["b"], Pair)
    assert (moved["a"][1][1], moved["b"].name, moved["c"]) == (3, "x", None)
