"""Loads the batches of a range, in the session's process or ahead of it in loader workers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from deepseek_runtime.contract.exit_codes import USER_CODE
from deepseek_runtime.feed import JobRefused
from deepseek_runtime.random_state import seed_batch
from deepseek_runtime.ranges import I64

Collate = Callable[[list[Any]], Any]

LOADER_TIMEOUT: Final = 600.0
"""Seconds that a loader worker may take for one batch."""


def check_dataset(dataset: Any) -> int:
    """The data set's length. Raises JobRefused (65) when it cannot be loaded by index, or is empty."""
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        raise JobRefused(
            USER_CODE,
            "DatasetRefused",
            f"the data set {type(dataset).__name__} can only be iterated; samples are handed out by index, so that "
            "each counts exactly once whoever is killed: give it __len__ and __getitem__(index)",
        )
    try:
        length = len(dataset)
    except (TypeError, NotImplementedError) as error:
        raise JobRefused(
            USER_CODE, "DatasetRefused", f"the data set {type(dataset).__name__} has no length: give it __len__"
        ) from error
    if length < 1:
        raise JobRefused(USER_CODE, "DatasetEmpty", f"the data set {type(dataset).__name__} is empty: nothing to train")
    return length


class Loader:
    """The batches of one range after another.

    With `workers`, processes load ahead and the random state of each batch is a function of (seed, g, its place);
    without, the session's own random state is used, as in a plain loop.
    """

    def __init__(self, dataset: Any, collate: Collate, workers: int, seed: int) -> None:
        self._batches = _Batches(dataset, collate, seed)
        self._requests: list[_Request] = []
        self._ahead: DataLoader[Any] | None = None
        if workers > 0:
            self._ahead = DataLoader(
                self._batches,
                batch_size=None,
                sampler=_Live(self._requests),
                num_workers=workers,
                persistent_workers=True,
                timeout=LOADER_TIMEOUT,
            )

    def batches(self, g: int, indices: Sequence[I64]) -> Iterator[Any]:
        """The batches of range g, on the CPU."""
        if self._ahead is None:
            return (self._batches.load(batch) for batch in indices)
        self._requests[:] = [(g, place, batch.tolist()) for place, batch in enumerate(indices)]
        return iter(self._ahead)

    def close(self) -> None:
        self._ahead = None


_Request = tuple[int, int, list[int]]


class _Live:
    """A sampler over the requests of the present range."""

    def __init__(self, requests: list[_Request]) -> None:
        self._requests = requests

    def __iter__(self) -> Iterator[_Request]:
        return iter(list(self._requests))

    def __len__(self) -> int:
        return len(self._requests)


class _Batches(Dataset[Any]):
    """A data set whose items are whole batches: so a request can carry what seeds it."""

    def __init__(self, dataset: Any, collate: Collate, seed: int) -> None:
        self._dataset = dataset
        self._collate = collate
        self._seed = seed

    def __getitem__(self, request: _Request) -> Any:
        g, place, indices = request
        seed_batch(self._seed, g, place)
        return self._samples(indices)

    def load(self, indices: I64) -> Any:
        return self._samples(indices.tolist())

    def _samples(self, indices: list[int]) -> Any:
        together = getattr(self._dataset, "__getitems__", None)
        if callable(together):
            return self._collate(together(indices))
        return self._collate([self._dataset[index] for index in indices])


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch with every tensor in it on `device`: tuples, lists, mappings, and whatever has a `to` of its own."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, tuple):
        moved = [to_device(item, device) for item in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else tuple(moved)
    if isinstance(batch, list):
        return [to_device(item, device) for item in batch]
    if isinstance(batch, Mapping):
        return {key: to_device(item, device) for key, item in batch.items()}
    move = getattr(batch, "to", None)
    return move(device) if callable(move) else batch
