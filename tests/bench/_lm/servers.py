"""The servers' rules and published copy for all lanes at once: what rules.py and protocol/span.py do to a span."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bench._lm.sparse import Codec
from bench._lm.training import column, direction


@dataclass(frozen=True, slots=True)
class Outer:
    """theta -= eta w payload on each push; every `period` pushes m = mu m + their sum, theta -= eta mu m.

    mu 0: the linear rule. period = workers: delayed Nesterov; 1: Nesterov on each push as it comes.
    """

    eta: float = 1.0
    mu: float = 0.0
    period: int = 1


class LinearServer:
    """theta and p: [lanes, size]; published: bytes of all publications so far, int64 [lanes]."""

    def __init__(
        self, theta: torch.Tensor, down: Codec, outers: Sequence[Outer], publish_every: Sequence[int], w: float
    ) -> None:
        device = theta.device
        self.theta, self.p = theta.clone(), theta.clone()
        self.published = torch.zeros(len(theta), dtype=torch.int64, device=device)
        self._down, self._w = down, w
        self._every = torch.tensor(publish_every, device=device)
        self._seldom = any(one > 1 for one in publish_every)
        self._count = 0
        self._moving = any(one.mu for one in outers)
        self._share = column([one.eta * w for one in outers], device)
        self._mu = column([one.mu for one in outers], device)
        self._jump = column([one.eta * one.mu for one in outers], device)
        self._period = column([one.period for one in outers], device)
        if self._moving:
            self._m, self._sum = torch.zeros_like(theta), torch.zeros_like(theta)

    def push(self, payload: torch.Tensor) -> None:
        """Server 2 and 3: theta changes by the rule, and the change is published."""
        self._count += 1
        self.theta.sub_(payload * self._share)
        if self._moving:
            self._sum.add_(payload * self._w)
            due = (self._count % self._period) == 0
            self._m.copy_(torch.where(due, self._m * self._mu + self._sum, self._m))
            self.theta.sub_(torch.where(due, self._jump * self._m, 0.0))
            self._sum.mul_(~due)
        self._publish()

    def flush(self, residual: torch.Tensor) -> None:
        """End: a worker's residual, dense."""
        self.theta.sub_(residual * self._w)

    def _publish(self) -> None:
        sent = self._down.encode(self.theta - self.p)
        if not self._seldom:
            self.p.add_(sent.values)
            self.p.copy_(torch.where(self._down.dense, self.theta, self.p))
            self.published.add_(sent.sizes)
            return
        due = (self._count % self._every) == 0
        self.p.add_(sent.values * due[:, None])
        self.published.add_(sent.sizes * due)


class AdamWServer:
    """AdamW on each push, its horizons scaled to the workers: betas ** (1 / workers), lr / workers a push.

    What a pull hands out is where theta will be after `ahead` more pushes, if its moments stay as they are.
    """

    def __init__(self, theta: torch.Tensor, betas: Sequence[tuple[float, float]], workers: int) -> None:
        self.theta = theta.clone()
        self._m, self._v = torch.zeros_like(theta), torch.zeros_like(theta)
        self._beta1 = column([one[0] ** (1 / workers) for one in betas], theta.device)
        self._beta2 = column([one[1] ** (1 / workers) for one in betas], theta.device)
        self._t = torch.zeros(1, device=theta.device)
        self._workers = workers
        self._push = torch.compile(_push, dynamic=False) if theta.is_cuda else _push
        self._predict = torch.compile(_predict, dynamic=False) if theta.is_cuda else _predict

    def push(self, gradient: torch.Tensor, lr: torch.Tensor) -> None:
        """lr: [lanes, 1], of a turn of all workers."""
        self._t += 1
        state = (self.theta, self._m, self._v)
        self._push(*state, gradient, lr / self._workers, self._beta1, self._beta2, self._t)

    def pull(self, lr: torch.Tensor, ahead: torch.Tensor) -> torch.Tensor:
        """ahead: [lanes, 1], in pushes."""
        t = self._t.clamp(min=1)
        step = lr * ahead / self._workers
        predicted: torch.Tensor = self._predict(self.theta, self._m, self._v, step, self._beta1, self._beta2, t)
        return predicted


def _push(
    theta: torch.Tensor,
    m: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    lr: torch.Tensor,
    beta1: torch.Tensor,
    beta2: torch.Tensor,
    t: torch.Tensor,
) -> None:
    m.copy_(m * beta1 + g * (1 - beta1))
    v.copy_(v * beta2 + g * g * (1 - beta2))
    theta.sub_(lr * direction(m, v, beta1, beta2, t))


def _predict(
    theta: torch.Tensor,
    m: torch.Tensor,
    v: torch.Tensor,
    step: torch.Tensor,
    beta1: torch.Tensor,
    beta2: torch.Tensor,
    t: torch.Tensor,
) -> torch.Tensor:
    return theta - step * direction(m, v, beta1, beta2, t)
