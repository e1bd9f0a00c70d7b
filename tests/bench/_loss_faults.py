"""Runs of `bench-loss-guard`: digits in virtual time, with a fault in the middle, guarded or not.

Ledger, spans, codecs, rules, sessions, chief and guard are the product's, and so is the restore after a roll-back; only
time, network, etcd and store are simulated (tests/simulator/training.py).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import nn

from bench._folds import Fold
from deepseek_runtime.contract.config import (
    Checkpoint,
    Compression,
    Guard,
    JobConfig,
    Optimizer,
    Precision,
    Training,
    Update,
)
from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.effects import StartRange
from deepseek_runtime.protocol.span import SpanParts
from deepseek_runtime.space import Space
from deepseek_runtime.tasks.task import Task
from simulator.etcd import Client
from simulator.processes import Process
from simulator.training import Course, TrainingJob, TrainingServer, TrainingWorker

Fault = Literal["none", "wrong labels", "learning rate x 100", "corrupted batch", "float16 overflow"]
Guarded = Literal["off", "act", "clip"]
Mode = Literal["local", "gradient", "half"]
SPEEDS: Final = (1.0, 0.9, 0.75, 0.5)
STEPS: Final = 600
EVERY: Final = 50
"""Steps between two checkpoints."""


class Run(NamedTuple):
    """guarded: `clip` is the rival: no guard, gradients clipped at a global norm of 1. mode: of a healthy run."""

    fault: Fault
    guarded: Guarded
    seed: int
    mode: Mode = "local"
    steps: int = STEPS


MODES: Final[dict[Fault, Mode]] = {
    "wrong labels": "local",
    "learning rate x 100": "gradient",
    "corrupted batch": "local",
    "float16 overflow": "half",
}


class Faulty(Task):
    """A fold of digits and a small net, whose data or precision go wrong in some ranges. `g`: the present range."""

    def __init__(self, run: Run) -> None:
        self._fold = Fold(run.seed % 5, run.seed)
        self._fault = run.fault
        self._half = run.mode == "half"
        self._random = torch.Generator().manual_seed(run.seed)
        ranges = run.steps if run.mode == "gradient" else run.steps // 4
        # Late, when small steps leave little room to recover in.
        self._burst = range(int(0.7 * ranges), int(0.93 * ranges))
        self._from = int(0.5 * ranges)
        self._batch = int(0.9 * ranges)
        self.g = -1

    def model(self) -> nn.Module:
        return Net(normalised=self._half)

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        images, labels = batch
        if self._fault == "wrong labels" and self.g in self._burst:
            labels = (labels + 1) % 10
        if self._fault == "corrupted batch" and self.g == self._batch:
            images = 1000.0 * torch.randn(images.shape, generator=self._random)
        if self._fault == "float16 overflow" and self.g >= self._from:
            images = 30000.0 * images  # the sensor's gain; in float32 the net does not mind
        return nn.functional.cross_entropy(model(images), labels)

    def dataset(self, split: Any) -> Any:
        return self._fold.dataset(split)

    def collate(self, samples: list[Any]) -> Any:
        return self._fold.collate(samples)

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        return self._fold.evaluate(model)


class Net(nn.Module):
    """64 to 64 to 10. normalised: by layer, and activations that overflow are put to 0, as models trained in float16
    often do: the loss is finite and wrong, so no loss scaler sees it."""

    def __init__(self, normalised: bool) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.norm = nn.LayerNorm(64) if normalised else None
        self.last = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.first(images.flatten(1))
        if self.norm is not None:
            hidden = torch.nan_to_num(hidden * 64.0, nan=0.0, posinf=0.0, neginf=0.0)
            hidden = self.norm(hidden.float())
        out: torch.Tensor = self.last(torch.relu(hidden))
        return out


def training_of(run: Run) -> Training:
    gradient = run.mode == "gradient"
    return Training(
        steps=run.steps,
        batch_size=32,
        seed=run.seed,
        optimizer=Optimizer(
            name="sgd",
            lr=0.05,
            momentum=0.0 if gradient else 0.9,
            schedule="cosine",
            warmup_steps=60,
            clip_norm=1.0 if run.guarded == "clip" else None,
        ),
        update=Update(mode="gradient", local_steps=1, momentum=0.9) if gradient else Update(local_steps=4),
        compression=Compression(method="topk", ratio=0.05, value_bits=2),
        precision=Precision(compute="float16" if run.mode == "half" else "float32"),
        guard=Guard(mode="act" if run.guarded == "act" else "off"),
    )


@dataclass(frozen=True, slots=True)
class GuardCourse(Course):
    """spike: (from, to) in virtual seconds, when servers step 100 times too far."""

    spike: tuple[float, float] = (0.0, 0.0)
    clock: Any = None

    def config(self) -> JobConfig:
        made = super(GuardCourse, self).config()
        return made.model_copy(update={"checkpoint": Checkpoint(uri="memory://", every_steps=EVERY)})

    def span_parts(self, config: JobConfig, space: Space, index: int, samples: int) -> SpanParts:
        made = super(GuardCourse, self).span_parts(config, space, index, samples)
        usual, (begin, end) = made.lr, self.spike
        made.lr = lambda g: usual(g) * (100.0 if begin <= self.clock.now < end else 1.0)
        return made


class GuardJob(TrainingJob):
    """With what an operator does when asked to roll back: the next term, restored (reconcile/policies/terms.py)."""

    def __init__(self, course: GuardCourse, seed: int) -> None:
        super().__init__(course, seed)
        self.course = replace(course, clock=self.clock)
        self._operator = Client(self.etcd, "operator", lambda do, *args: do(*args), self._look)
        self.rolled_back = 0
        self.failed = False

    def start(self, member: Member) -> Process:
        made: Process = TrainingServer(self, member) if member.role == "server" else FaultyWorker(self, member)
        self.members[member] = made
        return made

    def train(self, within: float = 1e6) -> dict[str, float]:
        """Empty for a job that has failed: nothing in it was finite any more."""
        self.start_all()
        self.run_for(0.2)
        self.raise_term(*(Member("server", index, 0) for index in range(self.shape.servers)))
        self.run_until(lambda: self.etcd.ever_finished or self.failed, within)
        return {} if self.failed else self.metrics

    def _look(self) -> None:
        term = self.etcd.term
        present = {id: one for id, one in self.etcd.requests.items() if term is not None and one.term == term.number}
        for id in present:
            del self.etcd.requests[id]
        kinds = {one.kind for one in present.values()}
        self.failed |= "fail" in kinds
        if "roll_back" in kinds:
            self.rolled_back += 1
            self.clock.after(0.5, self._restore)

    def _restore(self) -> None:
        self.raise_term(*(Member("server", index, 0) for index in range(self.shape.servers)), restore=True)


class FaultyWorker(TrainingWorker):
    def _train(self, effect: StartRange) -> None:
        self.trainee.task.g = effect.lease.g  # type: ignore[attr-defined]
        super()._train(effect)


def play(run: Run) -> dict[str, float]:
    """right of tested images; held, rolled back; how often each note of the guard was made."""
    torch.set_num_threads(1)
    # All four do 3.15 batches a virtual second.
    middle = 0.7 * run.steps / sum(SPEEDS)
    spike = (middle, middle + 10.0) if run.fault == "learning rate x 100" else (0.0, 0.0)
    job = GuardJob(GuardCourse(Faulty(run), training_of(run), SPEEDS, spike=spike), run.seed)
    metrics = job.train()
    notes = Counter(note.reason for note in job.notes)
    known = ("LossImplausible", "PrecisionRaised", "StepShrunk", "RollBackWanted", "LossCalm", "LossAccepted")
    return {**metrics, "skipped": notes["RangeSkipped"], "back": job.rolled_back, **{one: notes[one] for one in known}}
