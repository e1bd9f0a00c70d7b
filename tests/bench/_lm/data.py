"""Which bytes each batch of each lane reads: tasks/bytelm's pinned sources, in the order of a job of that seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from deepseek_runtime.ranges import RangePlan
from deepseek_runtime.tasks.bytelm import sources


@dataclass(frozen=True, slots=True)
class Corpus:
    """text and validation: uint8 on the device; windows of context + 1 bytes begin `context` apart."""

    text: torch.Tensor
    validation: torch.Tensor
    context: int

    @classmethod
    def read(cls, context: int, device: str) -> "Corpus":
        """Raises JobRefused when the pinned package is not installed."""
        parts = sources()
        text, test = (torch.from_numpy(parts[split].copy()).to(device) for split in ("train", "test"))
        return cls(text, test, context)

    def order(self, seeds: Sequence[int], batch_size: int, steps: int) -> torch.Tensor:
        """Where each window of each batch begins: int64 [lanes, steps, batch_size], on the device."""
        samples = (len(self.text) - 1) // self.context
        samples -= samples % batch_size
        rows = []
        for seed in seeds:
            plan = RangePlan(samples, batch_size, 1, steps, seed)
            rows.append(np.stack([plan.batches(g)[0] for g in range(plan.count)]))
        return torch.from_numpy(np.stack(rows) * self.context).to(self.text.device)

    def windows(self, starts: torch.Tensor) -> torch.Tensor:
        """int64 [..., context + 1]"""
        return self.text[starts[..., None] + torch.arange(self.context + 1, device=starts.device)].long()

    def held_out(self, count: int) -> torch.Tensor:
        """[count, context + 1]: windows of the validation part, evenly apart, always the same ones."""
        available = (len(self.validation) - 1) // self.context
        chosen = torch.linspace(0, available - 1, min(count, available), device=self.text.device).long()
        places = chosen[:, None] * self.context + torch.arange(self.context + 1, device=self.text.device)
        return self.validation[places].long()
