"""The proof of exactly-once from outside: weights that count how often each sample was trained.

w has the shape [rows, 4096]; a row is a chunk, so each span has at least two rows. The loss is the sum over the
batch and all rows of w[row, id]. With SGD at rate 1 (`optimizer: {name: sgd, lr: 1}`) and pushes of weight 1
(`update: {weight: one}`) each time that sample `id` counts takes 1 from w[row, id] in every row of every span: at the
end `counts(w)`, dense, is the number of epochs everywhere, exactly; whatever was lost or repeated stands out.
"""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import nn
from torch.utils.data import Dataset

from deepseek_runtime.space import CHUNK
from deepseek_runtime.tasks.task import Split, Task

WIDTH: Final = CHUNK


class Tally(Task):
    """rows: rows of w, at least 2. samples: length of the data set, 1 to 4,096."""

    def __init__(self, rows: int = 8, samples: int = WIDTH) -> None:
        if rows < 2:
            raise ValueError(f"rows must be at least 2, got {rows}")
        if not 1 <= samples <= WIDTH:
            raise ValueError(f"samples must be 1 to {WIDTH} (a row is one chunk), got {samples}")
        self._rows = rows
        self._samples = samples

    def model(self) -> nn.Module:
        return TallyModel(self._rows)

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        """The sum, not the mean: each sample has gradient 1 in every row."""
        total: torch.Tensor = model(batch)
        return total

    def dataset(self, split: Split) -> "Numbers":
        return Numbers(self._samples)

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        """The least, greatest and mean count over samples and rows, and the greatest weight where no sample is."""
        w: torch.Tensor = model.w  # type: ignore[assignment]
        counted = counts(w)[:, : self._samples]
        beyond = w[:, self._samples :]
        return {
            "least": float(counted.min()),
            "most": float(counted.max()),
            "mean": float(counted.double().mean()),
            "beyond": float(beyond.abs().max()) if beyond.numel() else 0.0,
        }


class TallyModel(nn.Module):
    """w [rows, 4096], at first 0."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(rows, WIDTH))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.w.index_select(1, ids).sum()


class Numbers(Dataset[int]):
    """Sample i is i."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> int:
        return index


def counts(w: torch.Tensor) -> torch.Tensor:
    """How often each sample counted, [rows, 4096]: -w."""
    return -w
