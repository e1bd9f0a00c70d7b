"""A job that really trains in virtual time: a task's own model and data instead of `tally`'s counts.

Server, chief, ledger, spans, codecs, rules, and each worker's machine and session are the product's; only time,
network, etcd and store are simulated. There are no faults and no operator, so the oracle only measures staleness.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepseek_runtime.compression import SpanCodec, codec_for
from deepseek_runtime.contract.config import Checkpoint, JobConfig, Optimizer, Training
from deepseek_runtime.contract.names import Member
from deepseek_runtime.edge import parts
from deepseek_runtime.feed import F32, Description, Evaluate, RangeStats, Train
from deepseek_runtime.guard.caution import Held
from deepseek_runtime.optimizers import build_optimizer
from deepseek_runtime.protocol.effects import Adopt, Effect, StartEvaluation, StartInitial, StartMoments, StartRange
from deepseek_runtime.protocol.messages import Push
from deepseek_runtime.protocol.pusher import Pusher
from deepseek_runtime.protocol.serving import Server
from deepseek_runtime.protocol.settings import settings_of
from deepseek_runtime.protocol.span import SpanParts
from deepseek_runtime.random_state import seed_start
from deepseek_runtime.ranges import I64, RangePlan
from deepseek_runtime.session import Session
from deepseek_runtime.space import Space
from deepseek_runtime.tasks.task import Task
from simulator.job import Job, Shape
from simulator.oracle import Oracle
from simulator.processes import Process
from simulator.servers import ServerProcess
from simulator.workers import WorkerProcess

SPANS = 4
NEVER = 1 << 30


@dataclass(frozen=True, slots=True)
class Course:
    """What is trained, by how many, how fast. speeds: one a worker; a batch takes 1 / speed virtual seconds."""

    task: Task
    training: Training
    speeds: Sequence[float]
    servers: int = 2
    fast: bool = True
    """Compression by the numba kernels."""

    def config(self) -> JobConfig:
        checkpoint = Checkpoint(uri="memory://", every_steps=NEVER)
        return JobConfig(
            job="training",
            uid="u",
            etcd=("sim",),
            workers=len(self.speeds),
            spans=SPANS,
            training=self.training,
            checkpoint=checkpoint,
        )

    def codec(self, space: Space, index: int) -> SpanCodec:
        return codec_for(space.spans[index].runs, self.training.compression, fast=self.fast)

    def span_parts(self, config: JobConfig, space: Space, index: int, samples: int) -> SpanParts:
        """The product's own, with this course's kernels."""
        made = parts.span_parts(config, space, index, samples)
        if not self.fast:
            made.codec = made.rule.codec = self.codec(space, index)  # type: ignore[attr-defined]
        return made


class Watch(Oracle):
    """Measures instead of judging: pushes of others between a worker's pull and its push."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.stale: list[int] = []
        self._began: dict[Member, int] = {}

    def on_push(self, worker: Pusher, push: Push) -> None:
        return

    def on_server(self, server: Server) -> None:
        return

    def on_chief(self, chief: Any) -> None:
        return

    def on_index(self, call: Any) -> None:
        return

    def on_pulled(self, worker: Pusher, effect: StartRange | StartEvaluation) -> None:
        self._began[worker.me] = self._applied()

    def on_evaluated(self, worker: Pusher, effect: StartEvaluation, x: F32) -> None:
        return

    def pushed(self, worker: Member) -> None:
        """When a worker has trained its range, before its push is on its way."""
        self.stale.append(self._applied() - self._began[worker])

    def _applied(self) -> int:
        return max(
            (span.ordinal for server in self._job.servers() for span in server.machine.spans.values()), default=0
        )


class StepFeed:
    """A session's feed that has what it is given, and says that it is over when that is done: the session's loop is
    entered again for the next."""

    def __init__(self, config: JobConfig) -> None:
        self.training, self.spans = config.training, config.spans
        self._plan = settings_of(config).plan
        self.waiting: list[Train | Evaluate] = []
        self.description: Description | None = None
        self.result: tuple[F32, I64, RangeStats] | None = None
        self.metrics: dict[str, float] = {}
        self.skipped: str = ""
        self.held: Held | None = None

    def join(self, description: Description) -> RangePlan:
        self.description = description
        return self._plan(description.samples)

    def next(self) -> Train | Evaluate | None:
        return self.waiting.pop() if self.waiting else None

    def push(self, difference: F32, integers: I64, stats: RangeStats) -> None:
        self.result = (difference, integers, stats)

    def skip(self, reason: str, held: Held | None = None) -> None:
        self.skipped, self.held = reason, held

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        self.metrics = dict(metrics)

    def close(self) -> None:
        return


class Trainee:
    """A worker's session, run range by range."""

    def __init__(self, course: Course) -> None:
        training = course.training
        self.feed = StepFeed(course.config())
        seed_start(training.seed)
        self.task = course.task
        model = self.task.model()
        gradient = training.update.mode == "gradient"
        optimizer = None if gradient else build_optimizer(training.optimizer or Optimizer(), model)
        self.session = Session(
            model,
            optimizer,
            self.task.dataset("train"),
            self.feed,
            self.task.evaluate,
            self.task.collate,
            "cpu",
            in_job=True,
        )
        assert self.feed.description is not None
        self.description = self.feed.description

    def does(self, item: Train | Evaluate) -> None:
        self.feed.result, self.feed.skipped = None, ""
        self.feed.waiting.append(item)
        for batch in self.session:
            self.session.backward(self.task.loss(self.session.model, batch))
            self.session.step()


class TrainingJob(Job):
    """`train` plays it to its end. metrics: of the last evaluation; stale: of each push."""

    def __init__(self, course: Course, seed: int = 0) -> None:
        shape = Shape(
            servers=course.servers,
            workers=len(course.speeds),
            steps=course.training.steps or 1,
            local_steps=course.training.update.local_steps,
            share=True,
            latency=(0.001, 0.002),
            storing=(0.001, 0.002),
            checkpoint_every=NEVER,
        )
        super().__init__(shape, seed)
        self.course = course
        self.config = course.config()
        self.settings = settings_of(self.config)
        self.watch = Watch(self)
        self.oracle = self.watch
        self.store.on_index = None
        self.metrics: dict[str, float] = {}

    def start(self, member: Member) -> Process:
        made: Process
        made = TrainingServer(self, member) if member.role == "server" else TrainingWorker(self, member)
        self.members[member] = made
        return made

    def train(self, within: float = 1e6) -> dict[str, float]:
        """Raises AssertionError when it has not finished within so many virtual seconds."""
        self.start_all()
        self.run_for(0.2)
        self.raise_term(*(Member("server", index, 0) for index in range(self.shape.servers)))
        self.run_until(lambda: self.etcd.ever_finished, within)
        return self.metrics


class TrainingServer(ServerProcess):
    def __init__(self, job: TrainingJob, me: Member) -> None:
        super().__init__(job, me)
        config, course = job.config, job.course
        self.machine = Server(
            me, lambda space, index, samples: course.span_parts(config, space, index, samples), config.timing.resend
        )


class TrainingWorker(WorkerProcess):
    def __init__(self, job: TrainingJob, me: Member) -> None:
        super().__init__(job, me)
        self.training_job = job
        course = job.course
        self.trainee = Trainee(course)
        described = self.trainee.description
        self.machine = Pusher(me, described.samples, described.space.fingerprint(), course.codec, job.config.timing)
        self._plan = self.trainee.session.plan
        self._speed = course.speeds[me.index]

    def takes(self, effect: Effect) -> float:
        """Virtual seconds on the user's thread."""
        if isinstance(effect, StartRange):
            return self._plan.steps_of(effect.lease.g) / self._speed
        return 0.001

    def does(self, effect: Effect) -> None:
        machine, now, trainee = self.machine, self.clock.now, self.trainee
        described = trainee.description
        if isinstance(effect, StartRange):
            self._train(effect)
        elif isinstance(effect, StartEvaluation):
            trainee.does(Evaluate(effect.step, machine.x.copy(), self._integers()))
            self.training_job.metrics = metrics = trainee.feed.metrics
            self.carry_out(machine.evaluated(effect.key, effect.step, metrics, now))
        elif isinstance(effect, StartInitial):
            initial = described.initial()
            space, integers = described.space, initial.integers
            self.carry_out(machine.offered(effect.number, space, initial.values, integers, None, {}, now))
        elif isinstance(effect, Adopt):
            described.load_moments({}, effect.step == 0)
        elif isinstance(effect, StartMoments):
            self.carry_out(machine.moments_written(effect.key, effect.step, None, now))

    def _train(self, effect: StartRange) -> None:
        g, trainee = effect.lease.g, self.trainee
        first, caution = self._plan.first_step(g), effect.lease.caution
        trainee.does(Train(g, self.machine.x.copy(), self._integers(), self._plan.batches(g), first, caution))
        self.training_job.watch.pushed(self.me)
        if trainee.feed.result is None:
            self.carry_out(self.machine.unable(trainee.feed.skipped, self.clock.now, trainee.feed.held))
            return
        difference, integers, stats = trainee.feed.result
        row = {"loss": stats.loss} if stats.update is None else {"loss": stats.loss, "update": stats.update}
        self.carry_out(self.machine.trained(difference, integers, stats.samples, row, self.clock.now))

    def _integers(self) -> I64:
        held = self.machine.integers
        return held if held is not None else self.trainee.description.initial().integers
