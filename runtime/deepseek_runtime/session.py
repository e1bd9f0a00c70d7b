"""What user code holds: its own model, optimizer and loop, while the batches come from a job, or from here.

    session = deepseek_runtime.join(model, optimizer, dataset)
    for batch in session:
        session.backward(loss_fn(model, batch))
        session.step()

In a job the batches are ranges leased from the chief (feed.py is the seam); outside one the same loop trains alone.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import default_collate

from deepseek_runtime.alone import Alone
from deepseek_runtime.contract.config import Training
from deepseek_runtime.data import Collate, Loader, check_dataset, to_device
from deepseek_runtime.evaluation import evaluate_model
from deepseek_runtime.feed import Description, Evaluate, Feed, RangeStats, Tensors, Train
from deepseek_runtime.guard.caution import UNGUARDED, Caution, Held
from deepseek_runtime.masters import HostMasters
from deepseek_runtime.model_space import ModelSpace
from deepseek_runtime.moments import read_moments, write_moments
from deepseek_runtime.precision import DTYPES, Tries
from deepseek_runtime.random_state import seed_range
from deepseek_runtime.retry import BatchUndo
from deepseek_runtime.training_range import TrainingRange, plausible, refusal
from deepseek_runtime.updates import GradientUpdate, LocalUpdate, all_finite, measure

log = logging.getLogger(__name__)

Evaluator = Callable[[nn.Module], Mapping[str, float]]


class SessionError(RuntimeError):
    """The loop around a session is not as it must be; the message says what to change."""


@dataclass(slots=True)
class JobSeat:
    """The job that user code runs in, and the session that it has joined with."""

    feed: Feed
    session: "Session | None" = None


# A module's variable and not a context variable: user code may call join from a thread of its own.
_seat: JobSeat | None = None


@contextmanager
def feed_of_job(feed: Feed) -> Iterator[JobSeat]:
    """While it lasts, `join` takes its batches from `feed`: a worker runs user code inside it."""
    global _seat
    before, _seat = _seat, JobSeat(feed)
    try:
        yield _seat
    finally:
        _seat = before


def join(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    dataset: Any,
    *,
    evaluate: Evaluator | None = None,
    collate: Collate = default_collate,
    batch_size: int = 32,
    epochs: int = 1,
    steps: int | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    loader_workers: int = 0,
) -> "Session":
    """Joins the job that this process is a worker of; outside one, makes a session that trains alone.

    model: moved to `device`; its tensors are trained in place. optimizer: None only in `update.mode: gradient`.
    dataset: map-style. steps: batches of the whole job, whoever trains them; it outdoes epochs. In a job the
    manifest's batchSize, epochs, steps and seed win over the keywords, and a difference is logged.

    Raises JobRefused when model or data cannot be trained or differ from the other workers', SessionError when
    called twice in a job.
    """
    seat = _seat
    if seat is None:
        keywords: dict[str, Any] = {"steps": steps} if steps is not None else {"epochs": epochs}
        alone = Alone(Training(batch_size=batch_size, seed=seed, optimizer=None, **keywords))
        return Session(model, optimizer, dataset, alone, evaluate, collate, device, loader_workers, in_job=False)
    if seat.session is not None:
        raise SessionError("join was called twice in one job: a job trains one model; keep the first session")
    _log_differences(seat.feed.training, {"batch_size": batch_size, "epochs": epochs, "steps": steps, "seed": seed})
    seat.session = Session(model, optimizer, dataset, seat.feed, evaluate, collate, device, loader_workers, in_job=True)
    return seat.session


class Session:
    """Yields batches on the session's device, with autocast on as `training.precision` says.

    Each batch ends with `step()`, after one `backward(loss)` or several (accumulation). One that came out
    non-finite is yielded again with `retry` true.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        dataset: Any,
        feed: Feed,
        evaluate: Evaluator | None = None,
        collate: Collate = default_collate,
        device: str | torch.device = "auto",
        loader_workers: int = 0,
        *,
        in_job: bool,
    ) -> None:
        samples = check_dataset(dataset)
        self.device = _device(device)
        self.model = model.to(self.device)
        self.retry = False
        """Whether the present batch is run again, after it came out non-finite."""
        self.finished = False
        """Whether the feed has said that there is no more to do."""
        self.metrics: dict[str, float] = {}
        """Of the last evaluation; in a job only in the worker that ran it."""
        self._feed = feed
        training = feed.training
        self._seed = training.seed
        self._space = ModelSpace(model, optimizer, feed.spans)
        self._update: LocalUpdate | GradientUpdate
        if training.update.mode == "gradient":
            self._update = GradientUpdate(training, self._space, optimizer)
        else:
            self._update = LocalUpdate(training, self._space, optimizer, in_job=in_job)
        self._evaluate = evaluate
        self._loader = Loader(dataset, collate, loader_workers, training.seed)
        self._tries = Tries(training.precision)
        self._masters: HostMasters | None = None
        if training.precision.masters == "host":
            trained = self._space.trained
            self._masters = HostMasters(self._space.model, trained, self.device, DTYPES[training.precision.compute])
            self._space.masters = self._masters
        self._undo = BatchUndo(model)
        self._autocast = ExitStack()
        self._range: TrainingRange | None = None
        self._batch: Any = None
        self._step: int | None = None
        self._open = False
        self._loss: torch.Tensor | None = None
        self.plan = feed.join(
            Description(
                space=self._space.space,
                samples=samples,
                initial=self._space.initial,
                load_fixed=self._space.load_fixed,
                moments=self._moments,
                load_moments=self._load_moments,
                load_loss_scale=self._load_loss_scale,
                room=self._space.room,
                tied=self._space.tied,
            )
        )

    @property
    def steps(self) -> int:
        """Batches of the whole job."""
        return self.plan.steps

    @property
    def global_step(self) -> int:
        """Place of the present batch in the whole job, from 0; the same before and after its `step()`."""
        if self._step is None:
            raise SessionError("session.global_step is of a batch: read it inside `for batch in session`")
        return self._step

    @property
    def loss_scale(self) -> float | None:
        """Of float16; None in other precisions."""
        return self._tries.scaler.scale if self._tries.scaler is not None else None

    def __iter__(self) -> Iterator[Any]:
        """Until the job is over. A second loop goes on where the first was left."""
        try:
            while self._advance():
                yield self._batch
        finally:
            self._autocast.close()

    def backward(self, loss: torch.Tensor) -> None:
        """Scales the loss (float16) and adds its gradients. Call it again before `step` to accumulate.

        Raises SessionError when `loss` is not a tensor of one element, or no batch is open.
        """
        if not self._open:
            raise SessionError("session.backward(loss) was called outside `for batch in session`, or after step()")
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            what = f"shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise SessionError(
                f"session.backward(loss) needs a tensor of one element, got {what}: take the mean over the batch"
            )
        self._autocast.close()
        total = loss.detach().float().reshape(())
        self._loss = total if self._loss is None else self._loss + total
        scale = self._tries.scale
        (loss.float() * scale if scale != 1.0 else loss).backward()  # type: ignore[no-untyped-call]
        self._enter_autocast()

    def step(self) -> bool:
        """Ends the batch: unscale, finite check, clip, optimizer step, gradients dropped.

        Returns whether the step was taken; if not, the batch comes again, or its range was given up.
        """
        if not self._open or self._loss is None:
            raise SessionError("session.step() needs a session.backward(loss) of the present batch before it")
        self._autocast.close()
        present = self._present()
        loss = float(self._loss)
        unscale = 1.0 / self._tries.scale
        norm = measure(self._space.trained, unscale, loss, in_place=self._masters is None)
        self._open, self._loss = False, None
        if norm is None:
            self._space.model.zero_grad(set_to_none=True)
            self._undo.put_back()
            self.retry = self._tries.bad() == "again"
            if not self.retry:
                self._range = None
                self._feed.skip(f"batch {present.step} stayed non-finite in float32 (loss {loss})")
            return False
        changes = self._update.optimizer is not None
        with self._masters.stepping(unscale, changes=changes) if self._masters is not None else nullcontext():
            self._update.apply(present, norm)
        self._space.model.zero_grad(set_to_none=True)
        self._tries.good()
        self.retry = False
        present.batch_done(loss)
        if present.complete:
            self._range = None
            return self._hand_over(present)
        return True

    def _hand_over(self, present: TrainingRange) -> bool:
        """A difference that is not finite would stay in the job's weights for ever: the range is given up."""
        difference = self._update.result()
        if all_finite(difference):
            stats = present.stats(self.loss_scale, difference)
            if present.caution is not None and not plausible(stats, present.caution):
                self._hold_back(stats, present.caution)
                return False
            self._feed.push(difference, self._space.read_integers(), stats)
            return True
        self._load_moments({}, False)  # whatever overflowed may be in them
        self._feed.skip(f"the weights overflowed float32 by batch {present.step - 1}, though its loss was finite")
        return False

    def _hold_back(self, stats: RangeStats, caution: Caution) -> None:
        """What is implausible is not pushed; nor do its gradients stay in the optimizer's moments."""
        self._load_moments({}, False)
        self._feed.skip(refusal(stats, caution), Held(caution.precise))

    def _advance(self) -> bool:
        """Makes the next batch the present one; False at the end."""
        if self._open:
            raise SessionError(
                "the batch before this one was not stepped: call session.backward(loss) and session.step() in each "
                "turn of the loop, instead of loss.backward() and optimizer.step()"
            )
        if not self.retry:
            while self._range is None:
                item = self._feed.next()
                if item is None:
                    self._end()
                    return False
                if isinstance(item, Evaluate):
                    self._answer(item)
                else:
                    self._begin(item)
            self._tries.begin()
            self._step = self._present().step
            self._batch = to_device(self._present().load(), self.device)
            self._undo.take(random=self._tries.retries)
        self._open = True
        self._compute(full=self._tries.full)
        self._enter_autocast()
        return True

    def _begin(self, train: Train) -> None:
        self._update.check()
        self._space.write(train.x, train.integers)
        self._space.model.zero_grad(set_to_none=True)
        seed_range(self._seed, train.g)
        caution = train.caution or UNGUARDED
        self._update.begin(caution.lr)
        self._tries.raised = caution.precise
        self._range = TrainingRange(train, self.plan, self._loader.batches(train.g, train.batches))

    def _answer(self, ticket: Evaluate) -> None:
        self._space.write(ticket.x, ticket.integers)
        self._compute(full=True)
        seed_range(self._seed, ticket.step)
        self.metrics = evaluate_model(self.model, self._evaluate)
        self._feed.evaluated(ticket.step, self.metrics)

    def _end(self) -> None:
        self.finished = True
        self._batch = self._step = None
        self._loader.close()
        self._compute(full=True)
        self._feed.close()

    def _compute(self, *, full: bool) -> None:
        if self._masters is not None:
            self._masters.use(full=full)

    def _enter_autocast(self) -> None:
        self._autocast.enter_context(self._tries.autocast(self.device))

    def _present(self) -> TrainingRange:
        if self._range is None:
            raise SessionError("no batch is open: this is for use inside `for batch in session`")
        return self._range

    def _moments(self) -> Tensors:
        optimizer = self._update.optimizer
        return read_moments(optimizer, self._space.names) if optimizer is not None else {}

    def _load_moments(self, moments: Tensors, initial: bool) -> None:
        optimizer = self._update.optimizer
        if optimizer is not None:
            with self._masters.loading() if self._masters is not None else nullcontext():
                write_moments(optimizer, self._space.names, moments)
        if not moments and not initial:
            self._update.warm_up()

    def _load_loss_scale(self, scale: float) -> None:
        if self._tries.scaler is not None:
            self._tries.scaler.scale = scale


def _device(wanted: str | torch.device) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def _log_differences(training: Training, keywords: Mapping[str, Any]) -> None:
    """Only for keywords that were given: their defaults say nothing."""
    defaults = {"batch_size": 32, "epochs": 1, "steps": None, "seed": 0}
    for name, value in keywords.items():
        if name == "epochs" and keywords["steps"] is not None:
            continue
        wins = getattr(training, name)
        if value not in (wins, defaults[name]):
            log.warning("join(%s=%s): the job's manifest says %s, and wins", name, value, wins)
