"""What the chief writes to etcd for people: one record, at most every `progressSeconds`."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from deepseek_runtime.contract.config import JobConfig
from deepseek_runtime.contract.records import CheckpointRef, Progress
from deepseek_runtime.protocol.chief import Chief
from deepseek_runtime.protocol.effects import Note


@dataclass(slots=True)
class Reporter:
    """One a chief process. `earlier` is what a chief before this one had written: sums go on from there."""

    config: JobConfig
    earlier: Progress | None = None
    events: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    checkpoint_problem: str = ""
    opening_problem: str = ""
    counted: Mapping[str, float] = field(default_factory=dict)
    """What an audit of the finished job says."""
    _next: int = 1
    _told: int = 1
    """The next event's id when a record was last made."""

    def adopt(self, earlier: Progress | None) -> None:
        self.earlier = earlier
        self.opening_problem = ""
        self.checkpoint_problem = earlier.checkpoint_problem if earlier is not None else ""
        if earlier is not None and earlier.events:
            # Its own, if this process was the chief before: with some that etcd did not have in time.
            self.events.extend(event for event in earlier.events if event not in self.events)
            self._next = max(self._next, int(earlier.events[-1].split(" ", 1)[0]) + 1)

    def note(self, note: Note) -> None:
        self.events.append(f"{self._next} {note.reason} {note.text}"[:500])
        self._next += 1
        if note.reason == "CheckpointFailed":
            self.checkpoint_problem = note.text
        elif note.reason == "CheckpointSaved":
            self.checkpoint_problem = ""
        elif note.reason == "StoreUnreachable":
            self.opening_problem = note.text
        elif note.reason == "TermOpened":
            self.opening_problem = ""

    def record(self, chief: Chief, now: float, wall: float) -> Progress | None:
        """None when there is nothing to say yet."""
        ledger, opened, saving = chief.ledger, chief.opened, chief.saving
        if ledger is None or opened is None or saving is None:
            return self._unopened(chief)
        self._told = self._next
        tracking, training = chief.tracking, self.config.training
        earlier = self.earlier
        steps = ledger.steps_done
        parameters = opened.space.parameters
        last_done = tracking.last_done
        before = earlier.last_range_time if earlier is not None else None
        made = Progress(
            term=chief.number,
            step=steps,
            steps=ledger.plan.steps,
            epoch=round(steps / ledger.plan.batches_per_epoch, 3),
            loss=tracking.loss if tracking.loss is not None else (earlier.loss if earlier else None),
            metrics=tracking.metrics or (earlier.metrics if earlier else {}),
            metrics_step=tracking.metrics_step if tracking.metrics else (earlier.metrics_step if earlier else None),
            samples_per_second=round(tracking.rate(now), 1),
            workers=len(chief.workers.live),
            checkpoint=CheckpointRef(term=saving.last[0], step=saving.last[1]) if saving.last else None,
            checkpoint_time=saving.last_time or (earlier.checkpoint_time if earlier else None),
            checkpoint_problem=self.checkpoint_problem,
            wire_bytes=tracking.wire_bytes + (earlier.wire_bytes if earlier else 0),
            dense_bytes=steps * 2 * 4 * parameters,
            local_steps=training.update.local_steps,
            samples_skipped=ledger.samples_skipped,
            residual_lost=tracking.residual_lost(chief.workers.live),
            pushed=tracking.pushed,
            staleness_p50=tracking.staleness(0.5),
            staleness_p95=tracking.staleness(0.95),
            loss_scale=tracking.loss_scale,
            guard=chief.guarding.state,
            parameters=parameters,
            ranges_done=len(ledger.done),
            last_range_time=wall - (now - last_done) if last_done is not None else before,
            longest_gap=round(max(tracking.longest_gap, earlier.longest_gap if earlier else 0.0), 3),
            events=tuple(self.events),
        )
        return made.model_copy(update=dict(self.counted)) if self.counted else made

    def _unopened(self, chief: Chief) -> Progress | None:
        """What keeps the term from opening, on top of what was known before."""
        if self._told == self._next:
            return None
        self._told = self._next
        known = self.earlier or Progress(term=chief.number, step=0, steps=0)
        return known.model_copy(update={"opening_problem": self.opening_problem, "events": tuple(self.events)})
