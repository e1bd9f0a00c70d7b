"""The rival of `bench-bytelm`: plain synchronous training in one process, the mean gradient of all workers' batches."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from deepseek_runtime import schedule
from deepseek_runtime.contract.config import Optimizer, Training
from deepseek_runtime.evaluation import evaluate_model
from deepseek_runtime.optimizers import build_optimizer
from deepseek_runtime.random_state import seed_start
from deepseek_runtime.ranges import I64, RangePlan
from deepseek_runtime.tasks.bytelm import ByteLM


@dataclass(frozen=True, slots=True)
class Outcome:
    """loss: nats a byte of the validation windows; seconds and cpu_seconds: of training alone."""

    loss: float
    seconds: float
    cpu_seconds: float
    threads: int


def train(task: ByteLM, training: Training, workers: int, lr: float, say: Callable[[str], None]) -> Outcome:
    """`training.steps` batches in the job's order, `workers` of them an optimizer step.

    The same initial weights, optimizer, schedule (by batches) and clipping as the job's; `lr` in place of its rate.
    """
    assert training.optimizer is not None and training.steps is not None
    optimizer_config = training.optimizer.model_copy(update={"lr": lr})
    before = torch.get_num_threads()
    seed_start(training.seed)
    model = task.model()
    threads = _fastest_threads(task, training, workers)
    torch.set_num_threads(threads)
    try:
        began, cpu = time.monotonic(), time.process_time()
        _train(task, training, optimizer_config, model, workers, say)
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        return Outcome(evaluate_model(model, task.evaluate)["loss"], seconds, cpu, threads)
    finally:
        torch.set_num_threads(before)


def batches_in_order(plan: RangePlan) -> list[I64]:
    return [batch for g in range(plan.count) for batch in plan.batches(g)]


def plan_of(task: ByteLM, training: Training) -> RangePlan:
    assert training.steps is not None
    samples = len(task.dataset("train"))
    return RangePlan(samples, training.batch_size, training.update.local_steps, training.steps, training.seed)


def _train(
    task: ByteLM, training: Training, config: Optimizer, model: nn.Module, workers: int, say: Callable[[str], None]
) -> None:
    dataset = task.dataset("train")
    batches = batches_in_order(plan_of(task, training))
    optimizer = build_optimizer(config, model)
    said = time.monotonic()
    for first in range(0, len(batches), workers):
        turn = batches[first : first + workers]
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate(config, first, len(batches))
        samples = [dataset[int(index)] for batch in turn for index in batch]
        loss = task.loss(model, task.collate(samples))
        loss.backward()  # type: ignore[no-untyped-call]
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if time.monotonic() - said > 30:
            said = time.monotonic()
            done = f"step {first + len(turn)} of {len(batches)}"
            say(f"  synchronous, lr {config.lr:g}: {done}, loss {float(loss.detach()):.3f}")


def _fastest_threads(task: ByteLM, training: Training, workers: int) -> int:
    """One or all: on a machine that others use too, threads that wait for each other may be the slower choice."""
    dataset = task.dataset("train")
    batch = task.collate([dataset[index] for index in range(workers * training.batch_size)])
    model = task.model()
    times: dict[int, float] = {}
    for threads in {1, os.cpu_count() or 1}:
        torch.set_num_threads(threads)
        for _ in range(5):
            began = time.monotonic()
            task.loss(model, batch).backward()  # type: ignore[no-untyped-call]
            times[threads] = min(times.get(threads, float("inf")), time.monotonic() - began)
    return min(times, key=lambda threads: times[threads])
