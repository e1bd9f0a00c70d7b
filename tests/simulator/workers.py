"""What worker.py does around its machine: effects carried out, a user's thread."""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from deepseek_runtime.contract.exit_codes import OK
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import Registration
from deepseek_runtime.protocol.effects import (
    Effect,
    Leave,
    Send,
    StartEvaluation,
    StartInitial,
    StartMoments,
    StartRange,
)
from deepseek_runtime.protocol.files import FileRef
from deepseek_runtime.protocol.lineage import Step
from deepseek_runtime.protocol.messages import Message, Push
from deepseek_runtime.protocol.pusher import Pusher
from simulator.clock import Violation
from simulator.processes import Process
from simulator.tally import codec, difference, space

if TYPE_CHECKING:
    from simulator.job import Job


class WorkerProcess(Process):
    def __init__(self, job: "Job", me: Member) -> None:
        super().__init__(job, me)
        plan = job.plan
        build = lambda _, index: codec(job.method, index)  # noqa: E731
        self.machine = Pusher(
            me, plan.samples, space().fingerprint(), build, job.settings.timing, piece=job.shape.piece
        )
        self.pace = 1.0
        """How many times longer than usual a range takes."""
        self.hold_training = False
        self._inbox: deque[Effect] = deque()
        self._working = False
        self._noted = 0
        self._registration = Registration(incarnation=me.incarnation, state="ready")
        self.etcd.register(("worker", me.index), self._registration)

    def terminate(self) -> None:
        self.terminating = True
        self.clock.after(15.0, self._lose_patience)
        self.run(lambda: self.carry_out(self.machine.drain(self.clock.now)))

    def _lose_patience(self) -> None:
        if self.alive:
            self.kill()

    # --- the I/O thread

    def on_tick(self) -> None:
        self.on_view()
        if not self.alive:
            return
        self.carry_out(self.machine.on_tick(self.clock.now))
        if self._noted == 0 and self.machine.trained_ranges > 0:
            self._noted = self.machine.trained_ranges
            self._registration = self._registration.model_copy(update={"trained": self._noted})
            self.etcd.register(("worker", self.me.index), self._registration)

    def on_view(self) -> None:
        if self.etcd.superseded:
            self.leave(OK, "Superseded")
        elif self.etcd.term is not None:
            self.carry_out(self.machine.on_term(self.etcd.term, self.clock.now))

    def deliver(self, sender: Member, message: Message) -> None:
        self.carry_out(self.machine.on_message(sender, message, self.clock.now))

    def carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if not self.alive:
                return
            self.job.passes(type(effect).__name__)
            if isinstance(effect, Send):
                if isinstance(effect.message, Push):
                    self.job.oracle.on_push(self.machine, effect.message)
                self.job.network.send(self.me, effect.to, effect.message)
            else:
                if isinstance(effect, StartRange | StartEvaluation):
                    self.job.oracle.on_pulled(self.machine, effect)
                self._inbox.append(effect)
                self._next()

    # --- the user's thread

    def _next(self) -> None:
        if self._working or not self._inbox or not self.alive:
            return
        effect = self._inbox.popleft()
        self.clock.log("%s does %s", self.me, type(effect).__name__)
        self._working = True
        takes = self.takes(effect)
        if isinstance(effect, Leave):
            if effect.finished and not self.job.etcd.ever_finished:
                raise Violation(f"{self.me} was sent home before `finished` stood in etcd")
            self.leave(OK, "Finished" if effect.finished else "Drained")
            return
        x = self.machine.x.copy() if isinstance(effect, StartEvaluation) else None
        self.clock.after(takes, self.run, self._finished, effect, x)

    def takes(self, effect: Effect) -> float:
        """Virtual seconds on the user's thread."""
        takes = self.clock.random.uniform(*self.job.range_seconds) * self.pace
        return takes if isinstance(effect, StartRange) else takes * 0.4

    def _finished(self, effect: Effect, x: Any) -> None:
        if self.hold_training and isinstance(effect, StartRange):
            self.clock.after(0.2, self.run, self._finished, effect, x)
            return
        self._working = False
        if isinstance(effect, StartEvaluation):
            self.job.oracle.on_evaluated(self.machine, effect, x)
        self.does(effect)
        self._next()

    def does(self, effect: Effect) -> None:
        """At the end of that time."""
        machine, now = self.machine, self.clock.now
        if isinstance(effect, StartRange):
            self._trained(effect)
        elif isinstance(effect, StartEvaluation):
            self.carry_out(machine.evaluated(effect.key, effect.step, {"accuracy": 1.0}, now))
        elif isinstance(effect, StartInitial):
            values = np.full(space().size, self.job.initial.get(self.me.index, 0.0), np.float32)
            integers = np.zeros(0, np.int64)
            self.carry_out(machine.offered(effect.number, space(), values, integers, None, {}, now))
        elif isinstance(effect, StartMoments):
            self._save_moments(effect)

    def _trained(self, effect: StartRange) -> None:
        g, now = effect.lease.g, self.clock.now
        if self.job.stays_non_finite(g):
            self.carry_out(self.machine.unable("the loss is NaN", now))
            return
        made = difference(self.job.plan, g).copy()
        samples = self.job.plan.samples_of(g)
        self.carry_out(self.machine.trained(made, None, samples, {"loss": 1.0}, now))

    def _save_moments(self, effect: StartMoments) -> None:
        file = None
        if not self.job.store.trouble:
            path = f"t{effect.term}/step-{effect.step}/moments"
            self.job.store.moments[path] = Step(effect.term, effect.step)
            file = FileRef(path, "m", 1)
        self.carry_out(self.machine.moments_written(effect.key, effect.step, file, self.clock.now))
