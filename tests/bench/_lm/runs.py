"""Whole runs of a group of lanes in virtual time: synchronous, local and gradient.

Workers' speeds are fixed, so which push comes when is known beforehand; what a worker trains between its pull and its
push depends on nothing that happens meanwhile, and is computed at its pull.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from bench._lm.powersgd import PowerSGD
from bench._lm.servers import AdamWServer, LinearServer, Outer
from bench._lm.sparse import Codec
from bench._lm.training import Trainer, column
from deepseek_runtime import schedule
from deepseek_runtime.contract.config import Optimizer


@dataclass(frozen=True, slots=True)
class Lane:
    """One run. The fields that its kind of run does not have are left alone.

    warmup: in batches of the whole job. ratio_up, ratio_down: None: dense. ahead: pushes that a pull looks ahead;
    ahead_own: as many times what the worker's own staleness will be.
    """

    seed: int
    lr: float
    warmup: int
    beta1: float = 0.9
    beta2: float = 0.99
    ratio_up: float | None = 0.05
    ratio_down: float | None = 0.05
    publish_every: int = 1
    outer: Outer = field(default_factory=Outer)
    ahead: float = 0.0
    ahead_own: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """losses: of held-out windows at the end, one a lane; curve: (batches done, losses). Bytes are of the whole job,
    both ways; steady_bytes leaves out each worker's first pull and last push. staleness: pushes, on average."""

    losses: list[float]
    curve: list[tuple[int, list[float]]]
    bytes: list[float]
    steady_bytes: list[float]
    staleness: float


@dataclass(slots=True)
class Setting:
    """What all runs of a group share. say: progress, for people."""

    trainer: Trainer
    lanes: Sequence[Lane]
    batches: int
    held_out: torch.Tensor
    say: Callable[[str], None]
    order: torch.Tensor = field(init=False)
    rates: torch.Tensor = field(init=False)
    curve: list[tuple[int, list[float]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        trainer, lanes = self.trainer, self.lanes
        if len(lanes) != trainer.lanes:
            raise ValueError(f"{len(lanes)} lanes for a trainer of {trainer.lanes}")
        self.order = trainer.corpus.order([lane.seed for lane in lanes], WINDOWS, self.batches)
        optimizers = [Optimizer(lr=lane.lr, schedule="cosine", warmup_steps=lane.warmup) for lane in lanes]
        steps = range(self.batches)
        rates = [[schedule.learning_rate(one, step, self.batches) for step in steps] for one in optimizers]
        self.rates = torch.tensor(rates, dtype=torch.float32, device=trainer.device)
        trainer.beta1.copy_(column([lane.beta1 for lane in lanes], trainer.device))
        trainer.beta2.copy_(column([lane.beta2 for lane in lanes], trainer.device))

    def initial(self) -> torch.Tensor:
        gpt, space = self.trainer.gpt, self.trainer.space
        return torch.stack([gpt.initial(space, lane.seed) for lane in self.lanes]).to(self.trainer.device)

    def rate(self, batch: int) -> torch.Tensor:
        return self.rates[:, batch : batch + 1]

    def look(self, done: int, weights: torch.Tensor) -> None:
        """Evaluates at each quarter of the run, on some of the windows, and at its end."""
        quarter = len(self.curve) + 1
        if done * 4 >= self.batches * quarter:
            windows = self.held_out if quarter == 4 else self.held_out[:: max(1, len(self.held_out) // 256)]
            self.curve.append((done, self.trainer.evaluate(weights, windows)))
            losses = " ".join(f"{loss:.4f}" for loss in self.curve[-1][1])
            self.say(f"  {done} of {self.batches} batches: {losses}")


WINDOWS = 16
"""A batch of one worker."""


def synchronous(setting: Setting, workers: int) -> Outcome:
    """AdamW on the mean gradient of all workers' batches; the trainer's batch is that of all workers."""
    trainer = setting.trainer
    trainer.y.copy_(setting.initial())
    for one in (trainer.m, trainer.v, trainer.t):
        one.zero_()
    for first in range(0, setting.batches - workers + 1, workers):
        trainer.starts.copy_(setting.order[:, first : first + workers].flatten(1))
        trainer.lr.copy_(setting.rate(first))
        trainer.step()
        setting.look(first + workers, trainer.y)
    return _done(setting, _dense_bytes(setting), _dense_bytes(setting), 0.0)


def powersgd(setting: Setting, workers: int, rank: int, dense_steps: int) -> Outcome:
    """Synchronous, the gradients compressed after the first `dense_steps` steps."""
    trainer = setting.trainer
    trainer.y.copy_(setting.initial())
    for one in (trainer.m, trainer.v, trainer.t):
        one.zero_()
    hook = PowerSGD(trainer.space, rank, trainer.lanes, workers, trainer.device)
    sent, steps = 0.0, setting.batches // workers
    for step in range(steps):
        first = step * workers
        gradients = []
        for worker in range(workers):
            trainer.starts.copy_(setting.order[:, first + worker])
            trainer.gradient(clipped=False)
            gradients.append(trainer.g.clone())
        dense = step < dense_steps
        trainer.g.copy_(torch.stack(gradients).mean(0) if dense else hook.mean(gradients))
        sent += 2 * workers * (4 * trainer.space.parameters if dense else hook.bytes_up)
        trainer.lr.copy_(setting.rate(first))
        trainer.optimize()
        setting.look(first + workers, trainer.y)
    return _done(setting, [sent] * trainer.lanes, [sent] * trainer.lanes, 0.0)


def events(speeds: Sequence[float], count: int, length: float) -> Iterator[tuple[int, int, int | None]]:
    """(worker, g of the push, g of the worker's next range or None) in order of virtual time.

    The first len(speeds) ranges are given out at the start, in order. A range takes length / speed.
    """
    heap = [(length / speed, worker, worker) for worker, speed in enumerate(speeds) if worker < count]
    heapq.heapify(heap)
    given = len(heap)
    while heap:
        now, worker, g = heapq.heappop(heap)
        following = given if given < count else None
        if following is not None:
            given += 1
            heapq.heappush(heap, (now + length / speeds[worker], worker, following))
        yield worker, g, following


class LocalWorkers:
    """Each with its residual, moments and the one payload that is under way; [workers, lanes, size]."""

    def __init__(self, setting: Setting, workers: int, local_steps: int, up: Codec) -> None:
        self._setting, self._local_steps, self._up = setting, local_steps, up
        trainer = setting.trainer
        shape = (workers, trainer.lanes, trainer.space.size)
        self.residual, self._m, self._v, self.sent = (torch.zeros(shape, device=trainer.device) for _ in range(4))
        self._t = torch.zeros((workers, 1), device=trainer.device)
        self.pushed = torch.zeros(trainer.lanes, dtype=torch.int64, device=trainer.device)

    def train(self, worker: int, g: int, x: torch.Tensor) -> None:
        """Worker 3 and 4: the range's batches on y = x, then e + d, of which the payload is taken."""
        trainer, setting = self._setting.trainer, self._setting
        mine = (self._m[worker], self._v[worker], self._t[worker])
        theirs = (trainer.m, trainer.v, trainer.t)
        trainer.y.copy_(x)
        for static, own in zip(theirs, mine, strict=True):
            static.copy_(own)
        first = g * self._local_steps
        for batch in range(first, min(first + self._local_steps, setting.batches)):
            trainer.starts.copy_(setting.order[:, batch])
            trainer.lr.copy_(setting.rate(batch))
            trainer.step()
        for static, own in zip(theirs, mine, strict=True):
            own.copy_(static)
        owed = (x - trainer.y).add_(self.residual[worker])
        sent = self._up.encode(owed)
        self.sent[worker] = sent.values
        self.residual[worker] = owed.sub_(sent.values)
        self.pushed.add_(sent.sizes)


def local(setting: Setting, speeds: Sequence[float], local_steps: int) -> Outcome:
    """The optimizer in the worker, compressed differences both ways, w = 1 / workers."""
    trainer, lanes, workers = setting.trainer, setting.lanes, len(speeds)
    up = Codec(trainer.space, [lane.ratio_up for lane in lanes], trainer.device)
    down = Codec(trainer.space, [lane.ratio_down for lane in lanes], trainer.device)
    outers, every = [lane.outer for lane in lanes], [lane.publish_every for lane in lanes]
    server = LinearServer(setting.initial(), down, outers, every, 1 / workers)
    team = LocalWorkers(setting, workers, local_steps, up)
    pulled = torch.zeros_like(team.pushed)
    seen = torch.zeros((workers, trainer.lanes), dtype=torch.int64, device=trainer.device)
    count = -(-setting.batches // local_steps)
    staleness = _Staleness(workers)
    for worker in range(min(workers, count)):
        team.train(worker, worker, server.p)
    for pushes, (worker, _, following) in enumerate(events(speeds, count, float(local_steps)), 1):
        server.push(team.sent[worker])
        staleness.pushed(worker, pushes)
        setting.look(min(pushes * local_steps, setting.batches - 1), server.theta)
        if following is not None:
            pulled.add_(server.published - seen[worker])
            seen[worker] = server.published
            team.train(worker, following, server.p)
    for worker in range(workers):
        server.flush(team.residual[worker])
    setting.look(setting.batches, server.theta)
    steady = (team.pushed + pulled).double()
    whole = steady + 2 * workers * up.dense_size
    return _done(setting, whole.tolist(), steady.tolist(), staleness.mean)


def gradient(setting: Setting, speeds: Sequence[float]) -> Outcome:
    """AdamW at the server on each push of one batch's gradient, dense; pulls hand out predicted weights."""
    trainer, lanes, workers = setting.trainer, setting.lanes, len(speeds)
    server = AdamWServer(setting.initial(), [(lane.beta1, lane.beta2) for lane in lanes], workers)
    waiting = torch.zeros((workers, trainer.lanes, trainer.space.size), device=trainer.device)
    total = sum(speeds)
    ahead = [
        column([lane.ahead + lane.ahead_own * (total - speed) / speed for lane in lanes], trainer.device)
        for speed in speeds
    ]
    staleness = _Staleness(workers)

    def pull(worker: int, g: int) -> None:
        trainer.y.copy_(server.pull(setting.rate(g), ahead[worker]))
        trainer.starts.copy_(setting.order[:, g])
        trainer.gradient(clipped=True)
        waiting[worker] = trainer.g

    for worker in range(min(workers, setting.batches)):
        pull(worker, worker)
    for pushes, (worker, g, following) in enumerate(events(speeds, setting.batches, 1.0), 1):
        server.push(waiting[worker], setting.rate(g))
        staleness.pushed(worker, pushes)
        setting.look(pushes, server.theta)
        if following is not None:
            pull(worker, following)
    return _done(setting, _dense_bytes(setting), _dense_bytes(setting), staleness.mean)


class _Staleness:
    """Pushes of others between a worker's pull and its push."""

    def __init__(self, workers: int) -> None:
        self._pulled = [0] * workers
        self._sum = self._count = 0

    def pushed(self, worker: int, pushes: int) -> None:
        self._sum += pushes - 1 - self._pulled[worker]
        self._count += 1
        self._pulled[worker] = pushes

    @property
    def mean(self) -> float:
        return self._sum / max(1, self._count)


def dense_bytes(setting: Setting) -> float:
    """Dense float32, pushed and pulled at every batch: what bytes are compared with."""
    return 8.0 * setting.trainer.space.parameters * setting.batches


def _dense_bytes(setting: Setting) -> list[float]:
    return [dense_bytes(setting)] * setting.trainer.lanes


def _done(setting: Setting, sent: list[float], steady: list[float], staleness: float) -> Outcome:
    return Outcome(setting.curve[-1][1], setting.curve, sent, steady, staleness)
