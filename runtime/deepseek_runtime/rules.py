"""How a push changes theta.

`local`: theta -= w * payload. The optimizer is the worker's; a linear rule is what error feedback needs.
`gradient`: SGD with delayed Nesterov (asynchronous Local-SGD, arXiv 2401.09135, algorithm 3 with c = 0): each gradient
is applied at once, the momentum only once a turn of all workers, because staleness acts as momentum by itself.
"""

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


@dataclass(slots=True)
class Linear:
    """theta -= w * payload."""

    codec: SpanCodec

    def apply(self, theta: F32, payload: Payload, w: float, lr: float, *, residual: bool = False) -> None:
        self.codec.add(payload, theta, -w)

    def state(self) -> tuple[dict[str, F32], dict[str, float]]:
        return {}, {}

    def load(self, arrays: dict[str, F32], scalars: dict[str, float]) -> None:
        return


@dataclass(slots=True)
class DelayedNesterov:
    """theta -= lr * w * g on each push; once the weights of a turn sum to 1: m = mu m + sum(w g), theta -= lr mu m.

    Buffers are differences, not gradients: they follow the linear rule.
    """

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
            if run.kind == "buffers":
                theta[here] -= np.float32(w) * g[here]
            else:
                theta[here] -= np.float32(lr * w) * g[here]
                self._sum[here] += np.float32(w) * g[here]
        if not residual:
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
