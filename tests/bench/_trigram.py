"""A byte-trigram table as a language model: what a net must beat to have learned more than its neighbours' counts."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from deepseek_runtime.tasks.bytelm import BYTES

F64 = npt.NDArray[np.float64]


class TrigramTable(nn.Module):
    """int64 [N, T] to log probabilities [N, T, 256] of the next byte, given the last two (of a window's first: one).

    windows: uint8 [windows, length], what is counted. Orders are interpolated as Witten and Bell do (1991; Chen and
    Goodman 1998, 2.4): p(c | ab) = (count(abc) + kinds(ab) p(c | b)) / (count(ab) + kinds(ab)), where kinds(ab) is how
    many different bytes were seen after ab; below the single byte lies the uniform distribution.
    """

    def __init__(self, windows: npt.NDArray[np.uint8]) -> None:
        super().__init__()
        text = windows.astype(np.int64)
        third = _count(3, text[:, :-2] * BYTES**2 + text[:, 1:-1] * BYTES + text[:, 2:])
        second = _count(2, text[:, :-1] * BYTES + text[:, 1:])
        first = _count(1, text)
        uniform = np.full(BYTES, 1 / BYTES)
        after_none = _interpolate(first[None], uniform[None])[0]
        after_one = _interpolate(second, np.broadcast_to(after_none, second.shape))
        after_two = _interpolate(third, np.tile(after_one, (BYTES, 1)))
        self._after_one = torch.from_numpy(np.log(after_one).astype(np.float32))
        self._after_two = torch.from_numpy(np.log(after_two).astype(np.float32)).view(BYTES, BYTES, BYTES)
        # `evaluate` asks a model's parameters for their device.
        self.device_of = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._after_one[ids[:, :1]], self._after_two[ids[:, :-1], ids[:, 1:]]], dim=1)


def _count(order: int, codes: npt.NDArray[np.int64]) -> F64:
    """[256 ** (order - 1), 256], or [256] for order 1."""
    counts = np.bincount(codes.ravel(), minlength=BYTES**order).astype(np.float64)
    return counts if order == 1 else counts.reshape(-1, BYTES)


def _interpolate(counts: F64, below: F64) -> F64:
    """Rows of probabilities; a row that was never seen is the one below."""
    kinds = (counts > 0).sum(axis=1, keepdims=True).astype(np.float64)
    seen = counts.sum(axis=1, keepdims=True)
    kinds[seen == 0] = 1
    probabilities: F64 = (counts + kinds * below) / (seen + kinds)
    return probabilities
