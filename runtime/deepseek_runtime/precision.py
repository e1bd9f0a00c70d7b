"""Compute precision: autocast, the dynamic loss scale, and what happens to a batch that came out non-finite.

Weights are FP32 masters always (masters.py: where); `precision.compute` is what the forward runs in. In float16 the
loss is scaled as torch's GradScaler does it (Micikevicius et al., 1710.03740), but a batch is never dropped for it: it
is run again at the lower scale, at last in FP32. Only a batch that is non-finite there, too, is given up.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal

import torch

from deepseek_runtime.contract.config import LossScale, Precision

LOWER_SCALE_TRIES: Final = 4
"""How often a batch is run at a halved scale before FP32: enough to find the scale at the start of a job, few enough
that a batch which is bad by itself costs little."""

Verdict = Literal["again", "give_up"]

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class LossScaler:
    """GradScaler's rule: times `backoff` after an overflow, times `growth` after `interval` good steps in a row."""

    def __init__(self, config: LossScale) -> None:
        self._config = config
        self.scale = config.init
        self._good = 0

    def good(self) -> None:
        self._good += 1
        if self._good < self._config.interval:
            return
        self._good = 0
        grown = self.scale * self._config.growth
        if math.isfinite(grown):
            self.scale = grown

    def overflow(self) -> None:
        self.scale *= self._config.backoff
        self._good = 0


class Tries:
    """The tries of one batch after another: which precision and which scale, and whether to try once more."""

    def __init__(self, config: Precision) -> None:
        self.compute = config.compute
        self.scaler = LossScaler(config.loss_scale) if config.compute == "float16" else None
        self.raised = False
        """Everything runs in float32 for a while (guard/)."""
        self._tries = 0
        self._full = config.compute == "float32"
        self._scale_before = 0.0

    def begin(self) -> None:
        """Before the first try of a batch."""
        self._tries = 0
        self._full = self.compute == "float32" or self.raised
        if self.scaler is not None:
            self._scale_before = self.scaler.scale

    @property
    def scale(self) -> float:
        """What the loss of this try is multiplied by."""
        return self.scaler.scale if self.scaler is not None and not self._full else 1.0

    @property
    def full(self) -> bool:
        """Whether this try runs in float32."""
        return self._full

    @property
    def retries(self) -> bool:
        """Whether a batch can be run again at all: in float32 it would come out the same."""
        return self.compute != "float32" and not self.raised

    def good(self) -> None:
        if self.scaler is not None and not self._full:
            self.scaler.good()

    def bad(self) -> Verdict:
        """After a non-finite try. The batch, not the scale, was to blame if FP32 fails: the scale is put back."""
        self._tries += 1
        if self._full:
            if self.scaler is not None:
                self.scaler.scale = self._scale_before
            return "give_up"
        if self.scaler is not None:
            self.scaler.overflow()
        self._full = self.scaler is None or self._tries > LOWER_SCALE_TRIES
        return "again"

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context of this try's forward."""
        if self._full:
            return nullcontext()
        return torch.autocast(device.type, dtype=DTYPES[self.compute])
