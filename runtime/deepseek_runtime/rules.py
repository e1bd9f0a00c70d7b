"""How a push changes theta.

`local`: theta -= w * payload. The optimizer is the worker's; a linear rule is what error feedback needs. With
`update.outerMomentum` it is delayed Nesterov at a rate of 1.
`gradient` with sgd: delayed Nesterov (asynchronous Local-SGD, arXiv 2401.09135, algorithm 3 with c = 0): each gradient
is applied at once, the momentum only once a turn of all workers, because staleness acts as momentum by itself.
`gradient` with adam or adamw: AdamW on each push, its horizons scaled to the live workers by w, and pulls that look
ahead: workers are given the weights as they will be when their gradients arrive. Without that it learns next to nothing
from gradients that are three pushes old (docs/benchmarks.md).

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
from deepseek_runtime.lent import held_elsewhere
from deepseek_runtime.space import Run

F32 = npt.NDArray[np.float32]
Payload = bytes | memoryview


class Rule(Protocol):
    def apply(self, theta: F32, payload: Payload, w: float, lr: float, *, residual: bool = False) -> None:
        """Changes theta in place. Raises PayloadError before touching anything. `residual`: not a range's gradient,
        but what compression still owed."""
        ...

    def published(self, theta: F32) -> F32:
        """What workers are to be given: theta itself (the same array), or where it will be when they push."""
        ...

    def state(self) -> tuple[dict[str, F32], dict[str, float]]:
        """What a checkpoint must hold beside theta; what is applied later does not change it."""
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

    def published(self, theta: F32) -> F32:
        return theta

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
    _lent: bool = False
    """A snapshot may still have both."""

    def __post_init__(self) -> None:
        self._m = np.zeros(self.size, np.float32)
        self._sum = np.zeros(self.size, np.float32)

    def apply(self, theta: F32, payload: Payload, w: float, lr: float, *, residual: bool = False) -> None:
        g = self.codec.decode(payload)
        if self._lent:
            self._lent = False
            self._m = self._m.copy() if held_elsewhere(self._m, 1) else self._m
            self._sum = self._sum.copy() if held_elsewhere(self._sum, 1) else self._sum
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

    def published(self, theta: F32) -> F32:
        return theta

    def state(self) -> tuple[dict[str, F32], dict[str, float]]:
        self._lent = True
        return {"momentum": self._m, "turn_sum": self._sum}, {"turn": self._turn}

    def load(self, arrays: dict[str, F32], scalars: dict[str, float]) -> None:
        if "momentum" in arrays:
            self._m[:] = arrays["momentum"]
            self._sum[:] = arrays["turn_sum"]
            self._turn = scalars.get("turn", 0.0)


EPSILON = np.float32(1e-8)
"""As in torch.optim.AdamW."""


@dataclass(slots=True)
class Moments:
    """AdamW's (Loshchilov & Hutter, 1711.05101) two moments of a vector; decay: of the weights, decoupled.

    A step may be a part w of one: then betas ** w and lr * w. With w = 1 it is torch.optim.AdamW.
    """

    size: int
    betas: tuple[float, float]
    decay: float
    first: F32 = field(init=False)
    second: F32 = field(init=False)
    left: tuple[float, float] = (1.0, 1.0)
    """What of each moment is still its zero beginning: the product of all betas ** w."""

    def __post_init__(self) -> None:
        self.first = np.zeros(self.size, np.float32)
        self.second = np.zeros(self.size, np.float32)

    def step(self, theta: F32, g: F32, parts: Sequence[slice], w: float, lr: float) -> None:
        """theta and the moments change in place, in `parts` alone. g: the gradient."""
        first, second = self.betas[0] ** w, self.betas[1] ** w
        self.left = (self.left[0] * first, self.left[1] * second)
        for here in parts:
            grad, m, v = g[here], self.first[here], self.second[here]
            m *= np.float32(first)
            m += np.float32(1.0 - first) * grad
            v *= np.float32(second)
            v += np.float32(1.0 - second) * np.square(grad)
            if self.decay:
                theta[here] *= np.float32(1.0 - lr * w * self.decay)
            theta[here] -= np.float32(lr * w) * self.direction(here)

    def direction(self, here: slice) -> F32:
        """What a whole step is the learning rate times of."""
        root = np.sqrt(self.second[here] / np.float32(1.0 - self.left[1]))
        root += EPSILON
        step: F32 = self.first[here] / np.float32(1.0 - self.left[0])
        step /= root
        return step


@dataclass(slots=True)
class AdamW:
    """AdamW on each push: one of weight w counts as w of a step, so a turn of all workers is one step of their mean.

    look_ahead: how many times the pushes of the others between a pull and its push, 1 / w - 1 of them, the published
    weights look ahead, along the present moments; 0: not at all. One horizon for all workers does no worse than each
    worker's own (measured), and keeps one published copy.
    """

    codec: SpanCodec
    runs: tuple[Run, ...]
    moments: Moments
    look_ahead: float = 2.0
    _trained: list[slice] = field(init=False)
    _ahead: float = 0.0
    """Learning rate times steps that the published weights are ahead, by the last push."""

    def __post_init__(self) -> None:
        self._trained = [slice(run.start, run.stop) for run in self.runs if run.kind != "buffers"]

    def apply(self, theta: F32, payload: Payload, w: float, lr: float, *, residual: bool = False) -> None:
        g = self.codec.decode(payload)
        self.moments.step(theta, g, self._trained, w, lr)
        if not residual:
            self._ahead = lr * self.look_ahead * (1.0 - w)
            _average(self.runs, theta, g, w)

    def published(self, theta: F32) -> F32:
        if not self._ahead:
            return theta
        ahead = theta.copy()
        for here in self._trained:
            ahead[here] -= np.float32(self._ahead) * self.moments.direction(here)
        return ahead

    def state(self) -> tuple[dict[str, F32], dict[str, float]]:
        moments = self.moments
        arrays = {"first_moment": moments.first.copy(), "second_moment": moments.second.copy()}
        return arrays, {"left_first": moments.left[0], "left_second": moments.left[1]}

    def load(self, arrays: dict[str, F32], scalars: dict[str, float]) -> None:
        """The first copy after a restore is theta itself; from the next push on it looks ahead again."""
        if "first_moment" in arrays:
            self.moments.first[:] = arrays["first_moment"]
            self.moments.second[:] = arrays["second_moment"]
            self.moments.left = (scalars["left_first"], scalars["left_second"])
