"""Random states: seeded before each range, so that nothing of them is ever saved, and put back before a retry."""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


def seed_start(seed: int) -> None:
    """Before user code builds its model: the same weights in every worker, and alone."""
    _seed(np.random.SeedSequence([seed]))


def seed_range(seed: int, g: int) -> None:
    """Seeds torch (all devices), numpy's global generator and `random` as a function of (seed, g) alone."""
    _seed(np.random.SeedSequence([seed, g]))


def seed_batch(seed: int, g: int, place: int) -> None:
    """The same for batch `place` of range g, in a loader worker."""
    _seed(np.random.SeedSequence([seed, g, place]))


def _seed(sequence: np.random.SeedSequence) -> None:
    high, low, for_numpy, for_python = (int(word) for word in sequence.generate_state(4))
    torch.manual_seed(high << 32 | low)
    np.random.seed(for_numpy)
    random.seed(for_python)


@dataclass(frozen=True, slots=True)
class RandomState:
    """A snapshot of all three generators: a batch that is run again draws the same dropout masks."""

    cpu: torch.Tensor
    cuda: torch.Tensor | None
    numpy: Any
    python: Any

    @classmethod
    def take(cls) -> "RandomState":
        used = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        cuda = torch.cuda.get_rng_state() if used else None
        return cls(torch.get_rng_state(), cuda, np.random.get_state(), random.getstate())

    def put_back(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda)
        np.random.set_state(self.numpy)
        random.setstate(self.python)
