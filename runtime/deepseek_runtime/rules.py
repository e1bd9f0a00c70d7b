"""How a push changes theta.

`local`: theta -= w * payload. The optimizer is the worker's; a linear rule is what error feedback needs.
`gradient`: SGD with delayed Nesterov (asynchronous Local-SGD, arXiv 2401.09135, algorithm 3 with c = 0): each gradient
is applied at once, the momentum only once a turn of all workers, because staleness acts as momentum by itself.

Buffers (BatchNorm's statistics) are no sums of steps but averages, and travel as values y: theta += w (y - theta) in
both modes. A difference computed long ago would carry them beyond every value that any worker has seen: a variance
below 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression import SpanCodec
from deepseek_runtime.space import Run

F32 = npt.NDArray[np.float32]
Payload = bytes | memoryview


class Rule(Protocol):
    def apply(self, theta: F32, payload: Payload, w: float, lr: float, *, residual: bool = False) -> None:
        """Changes theta in place. Raises PayloadError before touching anything. `residual`: not a range's gradient,
        but what compression still owed."""
        ...

    def state(self) -> tuple[dict[str, F32], dict[str, float]]:
        """What a checkpoint must hold beside theta."""
        ...

    def load(self, arrays: dict[str, F32], scalars: dict[str, float]) -> None: ...


def _average(runs: Sequence[Run], theta: F32, y: F32, w: float) -> None:
    """Buffers: a weighted mean of what was there and what a worker has."""
    for run in runs:
        if run.kind == "buffers":
            here = slice(run.start, run.stop)
            theta[here] += np.float32(w) * (y[here] - theta[here])


@dataclass(slots=True)
class Linear:
    """theta -= w * payload; buffers: theta += w (y - theta)."""

    codec: SpanCodec
    runs: Sequence[Run]
    _buffers: list[slice] = field(init=False)

    def __post_init__(self) -> None:
        self._buffers = [slice(run.start, run.stop) for run in self.runs if run.kind == "buffers"]

    def apply(self, theta: F32, payload: Payload, w: float, lr: float, *, residual: bool = False) -> None:
        if not self._buffers:
            self.codec.add(payload, theta, -w)
            return
        before = [theta[here].copy() for here in self._buffers]
        y = self.codec.decode(payload)
        self.codec.add(payload, theta, -w)
        for here, values in zip(self._buffers, before, strict=True):
            theta[here] = values
        if not residual:
            _average(self.runs, theta, y, w)

    def state(self) -> tuple[dict[str, F32], dict[str, float]]:
        return {}, {}

    def load(self, arrays: dict[str, F32], scalars: dict[str, float]) -> None:
        return


@dataclass(slots=True)
class DelayedNesterov:
    """theta -= lr * w * g on each push; once the weights of a turn sum to 1: m = mu m + sum(w g), theta -= lr mu m."""

    codec: SpanCodec
    runs: tuple[Run, ...]
    size: int
    momentum: float
    _m: F32 = field(init=False)
    _sum: F32 = field(init=False)
    _turn: float = 0.0

    def __post_init__(self) -> None:
        self._m = np.zeros(self.size, np.float32)
        self._sum = np.zeros(self.size, np.float32)

    def apply(self, theta: F32, payload: Payload, w: float, lr: float, *, residual: bool = False) -> None:
        g = self.codec.decode(payload)
        for run in self.runs:
            here = slice(run.start, run.stop)
            if run.kind != "buffers":
                theta[here] -= np.float32(lr * w) * g[here]
                self._sum[here] += np.float32(w) * g[here]
        if not residual:
            _average(self.runs, theta, g, w)
            self._turn += w
        if self._turn >= 1.0 - 1e-6:
            self._turn = 0.0
            self._m *= np.float32(self.momentum)
            self._m += self._sum
            self._sum[:] = 0
            theta -= np.float32(lr * self.momentum) * self._m

    def state(self) -> tuple[dict[str, F32], dict[str, float]]:
        return {"momentum": self._m.copy(), "turn_sum": self._sum.copy()}, {"turn": self._turn}

    def load(self, arrays: dict[str, F32], scalars: dict[str, float]) -> None:
        if "momentum" in arrays:
            self._m[:] = arrays["momentum"]
            self._sum[:] = arrays["turn_sum"]
            self._turn = scalars.get("turn", 0.0)
