"""Tasks whose batches wait for a fixed time instead of computing: what is left is the machinery and the links.

Two processors cannot compute for four workers at once without each waiting for the others; processes that wait can.
Arguments beside those of the task itself: waits, seconds a batch of each worker, by its index.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from deepseek_runtime.contract.names import ENV_INDEX
from deepseek_runtime.tasks.bytelm import ByteLM
from deepseek_runtime.tasks.digits import Digits

HOLD: Final = "HOLD"
"""Environment: a file; while it is there, no batch begins."""
BYTES: Final = 8
"""Of a batch that are really read: enough for a gradient of every tensor."""


class Pace:
    """waits: seconds a batch; one number for all workers, or one a worker."""

    def __init__(self, waits: Sequence[float]) -> None:
        self.seconds = waits[int(os.environ.get(ENV_INDEX, "0")) % len(waits)]
        held = os.environ.get(HOLD, "")
        self._hold = Path(held) if held else None

    def keep(self, began: float) -> None:
        """Until the batch that began then (time.monotonic) has taken its time; longer while all are held."""
        time.sleep(max(0.0, began + self.seconds - time.monotonic()))
        while self._hold is not None and self._hold.exists():
            time.sleep(0.01)  # a file: there is nothing to wait on


class SlowDigits(Digits):
    """The images of digits, really trained; a batch takes its worker's fixed time."""

    def __init__(self, waits: Sequence[float], **rest: Any) -> None:
        super().__init__(**rest)
        self._pace = Pace(waits)
        self._spent: float | None = None

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        """What this thread computed since the last batch, its gradient and step, is part of the time; waiting for a
        lease or a pull is none."""
        before = 0.0 if self._spent is None else min(time.thread_time() - self._spent, self._pace.seconds)
        began = time.monotonic() - before
        found = super().loss(model, batch)
        if model.training:
            self._pace.keep(began)
        self._spent = time.thread_time()
        return found


class SlowLM(ByteLM):
    """A byte-level GPT; of each batch some bytes of one window are trained on, and the rest of its time is waited.

    whole: all of the batch is trained on; then waits are what it takes at least.
    """

    def __init__(self, waits: Sequence[float], whole: bool = False, **rest: Any) -> None:
        super().__init__(**rest)
        self._pace, self._whole = Pace(waits), whole

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        began = time.monotonic()
        found = super().loss(model, batch if self._whole else batch[:1, : BYTES + 1])
        self._pace.keep(began)
        return found
