"""One run of `bench-precision`: a bytelm trained by a session, or by a plain loop, with its memory and speed."""

import gc
import time
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import torch
from torch import nn

from deepseek_runtime import schedule
from deepseek_runtime.alone import Alone
from deepseek_runtime.contract.config import Optimizer, Precision, Training, Update
from deepseek_runtime.evaluation import evaluate_model
from deepseek_runtime.optimizers import build_optimizer
from deepseek_runtime.random_state import seed_start
from deepseek_runtime.ranges import RangePlan
from deepseek_runtime.session import feed_of_job, join
from deepseek_runtime.tasks.bytelm import ByteLM

LOCAL_STEPS: Final = 8
COLD: Final = 16
"""Steps before anything is measured: two ranges, by when optimizer and allocator have all that they will have."""

Compute = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class Size:
    """Of model and batch; lr: its peak."""

    name: str
    layers: int
    heads: int
    width: int
    context: int
    windows: int
    lr: float = 1e-3

    def task(self, eval_windows: int) -> ByteLM:
        return ByteLM(self.layers, self.heads, self.width, self.context, eval_windows)


@dataclass(frozen=True, slots=True)
class Way:
    """masters: of a session; None: a plain loop, with torch.autocast and torch.amp.GradScaler if compute is low."""

    name: str
    compute: Compute
    masters: Literal["device", "host"] | None


WAYS: Final = (
    Way("fp32", "float32", "device"),
    Way("fp16", "float16", "device"),
    Way("fp16, masters on the host", "float16", "host"),
    Way("torch.amp, fp16", "float16", None),
)
OTHERS: Final = (
    Way("torch, fp32", "float32", None),
    Way("fp32, masters on the host", "float32", "host"),
    Way("bf16, masters on the host", "bfloat16", "host"),
)
"""Measured in memory and speed, not trained to the end."""


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes of torch's allocator, without what the process held before. peak: of all steps from COLD on. held: right
    after a backward: weights, gradients, the optimizer's state, a batch. loss: of held-out windows, nats a byte."""

    size: str
    way: str
    seed: int
    steps: int
    device: str
    parameters: int
    peak: int
    held: int
    workspace: int
    steps_a_second: float
    loss: float
    loss_scale: float | None
    skipped: int
    seconds: float

    def line(self) -> dict[str, Any]:
        return asdict(self)


class Meter:
    """Told of each step: `backward` after it, `step` after that."""

    def __init__(self, device: torch.device, steps: int) -> None:
        self._gpu = device.type == "cuda"
        self._cold, self._last = min(COLD, steps // 2), steps
        self._steps = 0
        self._began = self._ended = time.perf_counter()
        self.held = self.peak = 0
        self.before = self._allocated()

    def backward(self) -> None:
        if self._steps >= self._cold:
            self.held = max(self.held, self._allocated() - self.before)

    def step(self) -> None:
        self._steps += 1
        if self._gpu and self._steps in (self._cold, self._last):
            torch.cuda.synchronize()
        self._ended = time.perf_counter()
        if self._steps == self._cold:
            self._began = self._ended
            if self._gpu:
                torch.cuda.reset_peak_memory_stats()

    def end(self) -> None:
        if self._gpu:
            self.peak = torch.cuda.max_memory_allocated() - self.before

    @property
    def steps_a_second(self) -> float:
        return (self._steps - self._cold) / max(self._ended - self._began, 1e-9)

    def _allocated(self) -> int:
        return torch.cuda.memory_allocated() if self._gpu else 0


def run(size: Size, way: Way, seed: int, steps: int, device: torch.device, *, eval_windows: int) -> Run:
    """Trains from scratch; eval_windows 0: the loss is not measured (nan)."""
    began = time.perf_counter()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    task = size.task(max(eval_windows, 1))
    trained = (_plain if way.masters is None else _session)(task, size, way, seed, steps, device, eval_windows > 0)
    meter = trained.meter
    card = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    return Run(
        size=size.name, way=way.name, seed=seed, steps=steps, device=card, parameters=trained.parameters,
        peak=meter.peak, held=meter.held, workspace=meter.before, steps_a_second=meter.steps_a_second,
        loss=trained.loss, loss_scale=trained.loss_scale, skipped=trained.skipped,
        seconds=time.perf_counter() - began,
    )  # fmt: skip


def warm_up(device: torch.device) -> None:
    """Libraries take workspaces and load kernels at their first use, in the backward's thread, too."""
    tiny = Size("warm-up", 1, 2, 32, 32, 2)
    for way in WAYS:
        run(tiny, way, 0, 2, device, eval_windows=1)


@dataclass(frozen=True, slots=True)
class _Trained:
    meter: Meter
    parameters: int
    loss: float
    loss_scale: float | None
    skipped: int


def _optimizer(size: Size, steps: int) -> Optimizer:
    warm = steps // 8
    return Optimizer(name="adamw", lr=size.lr, betas=(0.9, 0.99), schedule="cosine", warmup_steps=warm, clip_norm=1.0)


def _session(task: ByteLM, size: Size, way: Way, seed: int, steps: int, device: torch.device, scored: bool) -> _Trained:
    """The loop of run_task, with a meter. What a worker's user thread does, but for the network."""
    assert way.masters is not None
    training = Training(
        steps=steps, batch_size=size.windows, seed=seed, optimizer=_optimizer(size, steps),
        update=Update(local_steps=LOCAL_STEPS), precision=Precision(compute=way.compute, masters=way.masters),
    )  # fmt: skip
    meter = Meter(device, steps)
    feed = Alone(training)
    seed_start(seed)
    with feed_of_job(feed):
        model = task.model()
        optimizer = build_optimizer(_optimizer(size, steps), model, on_host=way.masters == "host")
        session = join(
            model,
            optimizer,
            task.dataset("train"),
            evaluate=(lambda model: _scored(meter, task, model)) if scored else None,
            collate=task.collate,
            device=device,
        )
        for batch in session:
            session.backward(task.loss(session.model, batch))
            meter.backward()
            session.step()
            meter.step()
    if not scored:
        meter.end()
    return _Trained(
        meter, _parameters(model), session.metrics.get("loss", float("nan")), session.loss_scale, len(feed.skipped)
    )


def _scored(meter: Meter, task: ByteLM, model: nn.Module) -> dict[str, float]:
    meter.end()
    return dict(task.evaluate(model))


def _plain(task: ByteLM, size: Size, way: Way, seed: int, steps: int, device: torch.device, scored: bool) -> _Trained:
    """As torch's documentation has it; the same weights, batches, optimizer, schedule and clipping."""
    meter = Meter(device, steps)
    seed_start(seed)
    config = _optimizer(size, steps)
    model = task.model().to(device)
    optimizer = build_optimizer(config, model)
    low = way.compute != "float32"
    scaler = torch.amp.GradScaler(device.type, enabled=low)
    dataset = task.dataset("train")
    plan = RangePlan(len(dataset), size.windows, LOCAL_STEPS, steps, seed)
    batches = [batch for g in range(plan.count) for batch in plan.batches(g)]
    dtype = torch.float16 if way.compute == "float16" else torch.bfloat16
    for step, indices in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate(config, step, steps)
        batch = task.collate([dataset[int(index)] for index in indices]).to(device)
        with torch.autocast(device.type, dtype=dtype, enabled=low):
            loss = task.loss(model, batch)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        meter.backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        meter.step()
    meter.end()
    skipped = steps - int(next(iter(optimizer.state.values()))["step"])
    score = evaluate_model(model, task.evaluate)["loss"] if scored else float("nan")
    return _Trained(meter, _parameters(model), score, scaler.get_scale() if low else None, skipped)


def _parameters(model: nn.Module) -> int:
    return sum(one.numel() for one in model.parameters())
