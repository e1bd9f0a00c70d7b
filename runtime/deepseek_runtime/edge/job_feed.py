"""The feed of a worker in a job: ranges from the chief, results to the servers.

The user's thread calls `join`, `next`, `push`, ...; the I/O thread runs the machine of protocol/pusher.py with its
sockets, and never waits for the other. What the machine wants done on the user's thread (build the initial model, load
moments, train, evaluate) waits in `_inbox`, in order.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Literal

from deepseek_runtime import compression
from deepseek_runtime.checkpoint.index import fixed_path, moments_path
from deepseek_runtime.checkpoint.read import read_part
from deepseek_runtime.checkpoint.store import Store, StoreError, open_store, retrying
from deepseek_runtime.checkpoint.write import digest_of, write_part
from deepseek_runtime.contract import exit_codes
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import Registration
from deepseek_runtime.edge import parts
from deepseek_runtime.edge.joining import membership_of
from deepseek_runtime.edge.process import Exit, Identity
from deepseek_runtime.feed import F32, Description, Evaluate, JobRefused, RangeStats, Tensors, Train
from deepseek_runtime.guard.caution import Held
from deepseek_runtime.protocol import encoding
from deepseek_runtime.protocol import term as terms
from deepseek_runtime.protocol.effects import (
    Adopt,
    Effect,
    Leave,
    Send,
    StartEvaluation,
    StartInitial,
    StartMoments,
    StartRange,
)
from deepseek_runtime.protocol.files import FileRef
from deepseek_runtime.protocol.pusher import Pusher
from deepseek_runtime.protocol.settings import settings_of
from deepseek_runtime.ranges import I64, RangePlan
from deepseek_runtime.space import Space
from deepseek_runtime.transport import Post, load_keys
from deepseek_runtime.transport.curve import KeysError, lanes

logger = logging.getLogger(__name__)
TICK = 0.1


class JobFeed:
    """One a worker process. `crashed` is called on the I/O thread when it cannot go on; it should end the process."""

    def __init__(self, who: Identity, crashed: Callable[[Exit], Any]) -> None:
        config = who.config
        try:
            keys = load_keys(who.secrets, "worker") if who.secrets else None
        except KeysError as error:
            raise Exit(exit_codes.CONFIG, "KeysInvalid", str(error)) from error
        self.training = config.training
        self.spans = config.spans
        self.trained = 0
        self.range: int | None = None
        """The range that the user's thread is in."""
        self.ended: Literal["", "finished", "drained"] = ""
        self.leaving = False
        self._who = who
        self._crashed = crashed
        self._post = Post(str(who.me), keys, lanes=lanes(keys), threads=lanes(keys))
        self._membership = membership_of(who, self._post.wake)
        self._machine: Pusher | None = None
        self._description: Description | None = None
        self._inbox: queue.SimpleQueue[Effect] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Callable[[Pusher, float], Iterable[Effect]]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="worker-io", daemon=True)
        self._shutting = threading.Event()
        self._registration = Registration(incarnation=who.me.incarnation)
        self._dialled: dict[Member, str] = {}
        self._plan: RangePlan | None = None
        self._g = -1
        self._initialised = False
        self._storing: threading.Thread | None = None

    # --- life

    def start(self, registration: Registration) -> None:
        self._registration = registration
        self._membership.start()
        self._register()

    def _register(self) -> None:
        self._membership.register("worker", self._who.me.index, self._registration)

    def drain(self) -> None:
        """SIGTERM: finish the range, push the residual, leave. May be called in a signal handler."""
        if self.leaving:
            return
        self.leaving = True
        # No wake: it takes a lock that the interrupted code may hold. The I/O thread looks by itself.
        self._outbox.put(lambda machine, now: machine.drain(now))
        if self._machine is None:
            # Nothing was joined yet, so nothing is owed.
            self._crashed(Exit(exit_codes.OK, "Drained"))

    def shut_down(self) -> None:
        self._shutting.set()
        self._post.wake()
        if self._thread.is_alive():
            self._thread.join(5.0)
        self._membership.close()

    def close(self) -> None:
        """The session's loop has ended."""

    # --- the user's thread

    def join(self, description: Description) -> RangePlan:
        self._description = description
        machine = Pusher(
            self._who.me,
            description.samples,
            description.space.fingerprint(),
            lambda space, index: parts.codec(self._who.config, space, index),
            self._who.config.timing,
            correction=parts.correction(self._who.config),
            room=description.room,
        )
        self._plan = settings_of(self._who.config).plan(description.samples)
        self._machine = machine
        self._registration = self._registration.model_copy(update={"state": "ready"})
        self._register()
        self._thread.start()
        compression.load()
        while True:
            effect = self._inbox.get()
            if isinstance(effect, Leave):
                self._left(effect)
                # Before anything was trained: the session's loop ends at once.
                self._inbox.put(effect)
                return self._plan
            self._do(effect)
            if isinstance(effect, Adopt):
                return self._plan

    def next(self) -> Train | Evaluate | None:
        assert self._machine is not None and self._plan is not None
        while True:
            effect = self._inbox.get()
            if isinstance(effect, Leave):
                self._left(effect)
                return None
            if isinstance(effect, StartRange):
                self.range = self._g = effect.lease.g
                batches = self._plan.batches(self._g)
                first, caution = self._plan.first_step(self._g), effect.lease.caution
                return Train(self._g, self._machine.x, self._integers(), batches, first, caution)
            if isinstance(effect, StartEvaluation):
                self._ticket = effect.key
                return Evaluate(effect.step, self._machine.x, self._integers())
            self._do(effect)

    def _integers(self) -> I64:
        assert self._machine is not None and self._description is not None
        if self._machine.integers is not None:
            return self._machine.integers
        return self._description.initial().integers

    def _left(self, effect: Leave) -> None:
        self.ended = "finished" if effect.finished else "drained"

    def push(self, difference: F32, integers: I64, stats: RangeStats) -> None:
        row = {key: value for key, value in asdict(stats).items() if key != "samples" and value not in (None, ())}
        row["batch_losses"] = list(stats.batch_losses)
        self._tell(lambda machine, now: machine.trained(difference, integers, stats.samples, row, now))
        self.range = None

    def skip(self, reason: str, held: Held | None = None) -> None:
        self._tell(lambda machine, now: machine.unable(reason, now, held))
        self.range = None

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        key = self._ticket
        self._tell(lambda machine, now: machine.evaluated(key, step, metrics, now))

    def _tell(self, what: Callable[[Pusher, float], Iterable[Effect]]) -> None:
        self._outbox.put(what)
        self._post.wake()

    def _do(self, effect: Effect) -> None:
        """What the machine wants of the user's thread beside ranges and tickets."""
        if isinstance(effect, StartInitial):
            self._initialise(effect.number)
        elif isinstance(effect, Adopt):
            self._adopt(effect)
        elif isinstance(effect, StartMoments):
            self._save_moments(effect)

    # --- initial weights, moments

    def _store(self) -> Store:
        checkpoint = self._who.config.checkpoint
        return open_store(checkpoint.uri, checkpoint.storage_options)

    def _initialise(self, number: int) -> None:
        description = self._description
        assert description is not None
        initial = description.initial()
        fixed = self._store_fixed(dict(initial.fixed)) if initial.fixed else None
        self._initialised = True
        logger.info("initialiser: %d parameters, %d spans", description.space.parameters, len(description.space.spans))
        self._tell(
            lambda machine, now: machine.offered(
                number, description.space, initial.values, initial.integers, fixed, description.tied, now
            )
        )

    def _store_fixed(self, tensors: dict[str, Any]) -> FileRef:
        """Before anything was trained: without its first file the job cannot begin. Raises Exit (66)."""
        store = self._store()
        try:
            return retrying(
                lambda: write_part(store, fixed_path(digest_of(tensors)), tensors, {}), wait=self._shutting.wait
            )
        except StoreError as error:
            text = f"checkpoint.storage: what is not trained cannot be stored: {error.message}"
            raise Exit(exit_codes.MISSING_INPUT, "StoreUnusable", text) from error

    def _adopt(self, adopt: Adopt) -> None:
        """Joins a branch: must fit, then loads what is not in the vector."""
        description = self._description
        assert description is not None
        difference = Space.from_json(adopt.space).difference(description.space)
        if difference is not None:
            raise JobRefused(
                exit_codes.USER_CODE,
                "ModelsDiffer",
                f"this worker's model is not the job's: {difference}. All workers, and the checkpoint a job goes on "
                f"from, must have the same tensors",
            )
        if adopt.samples != description.samples:
            raise JobRefused(
                exit_codes.USER_CODE,
                "DataSetsDiffer",
                f"this worker's data set has {description.samples} samples, the job's has {adopt.samples}: all workers "
                f"must see the same data in the same order",
            )
        try:
            if adopt.fixed is not None and not self._initialised:
                description.load_fixed(read_part(self._store(), adopt.fixed))
                self._initialised = True
        except StoreError as error:
            raise Exit(exit_codes.CRASHED, "CheckpointUnreadable", error.message) from error
        description.load_moments(self._moments(adopt.moments), adopt.step == 0)
        if adopt.loss_scale is not None:
            description.load_loss_scale(adopt.loss_scale)

    def _moments(self, file: FileRef | None) -> Tensors:
        """Empty, and a warm-up, when they cannot be read: `keep` may have deleted them since the welcome."""
        try:
            return read_part(self._store(), file) if file is not None else {}
        except StoreError as error:
            logger.warning("the optimizer begins anew, its state cannot be read: %s", error.message)
            return {}

    def _save_moments(self, effect: StartMoments) -> None:
        """Copied here, stored by a thread of their own: the next range waits for the copy alone."""
        assert self._description is not None
        tensors: Tensors = self._description.moments()
        if not tensors or (self._storing is not None and self._storing.is_alive()):
            # Nothing to store; or the store is so slow that the last ones are still under way.
            self._tell(lambda machine, now: machine.moments_written(effect.key, effect.step, None, now))
            return
        self._tell(lambda machine, now: machine.moments_copied(effect.key, now))
        self._storing = threading.Thread(
            target=self._store_moments, args=(effect, tensors), name="moments-writer", daemon=True
        )
        self._storing.start()

    def _store_moments(self, effect: StartMoments, tensors: Tensors) -> None:
        file: FileRef | None = None
        try:
            file = write_part(self._store(), moments_path(effect.term, effect.step), tensors, {})
        except StoreError as error:
            logger.warning("the optimizer's state is not in the checkpoint of step %d: %s", effect.step, error)
        except Exception:
            logger.exception("the optimizer's state is not in the checkpoint of step %d", effect.step)
        self._tell(lambda machine, now: machine.moments_written(effect.key, effect.step, file, now))

    # --- the I/O thread

    def _run(self) -> None:
        try:
            self._loop()
        except Exit as exit:
            self._crashed(exit)
        except Exception as error:
            logger.exception("the worker's I/O thread crashed")
            self._crashed(Exit(exit_codes.CRASHED, "WorkerCrashed", f"{type(error).__name__}: {error}"))
        finally:
            self._post.close(linger=1.0)

    def _loop(self) -> None:
        machine = self._machine
        assert machine is not None
        while not self._shutting.is_set():
            for sender, wire in self._post.receive(TICK):
                try:
                    member, message = Member.parse(sender), encoding.decode(wire)
                except ValueError as error:
                    logger.warning("refused a message of %s: %s", sender, error)
                    continue
                self._carry_out(machine.on_message(member, message, time.monotonic()))
            while not self._outbox.empty():
                self._carry_out(self._outbox.get_nowait()(machine, time.monotonic()))
            view = self._membership.view()
            if view.term is not None:
                self._carry_out(machine.on_term(view.term, time.monotonic()))
            self._carry_out(machine.on_tick(time.monotonic()))
            self._note_trained(machine.trained_ranges)
            if self._membership.superseded:
                raise Exit(exit_codes.OK, "Superseded", "a newer incarnation of this worker is registered")

    def _note_trained(self, count: int) -> None:
        """The first range ends a recovery, so etcd learns of it at once; later ones are the chief's to count."""
        if self.trained == 0 and count > 0:
            self._registration = self._registration.model_copy(update={"trained": count})
            self._register()
        self.trained = count

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._send(effect)
            else:
                self._inbox.put(effect)

    def _send(self, effect: Send) -> None:
        machine = self._machine
        assert machine is not None
        record = machine.record
        if record is not None and effect.to not in self._dialled and effect.to in terms.servers(record):
            named = terms.servers(record)
            for gone in [member for member in self._dialled if member not in named]:
                self._post.hang_up(str(gone))
                del self._dialled[gone]
            for member in named:
                self._dialled[member] = terms.address(record, member)
                self._post.dial(str(member), self._dialled[member])
        # False is no loss: everything is told again until it is answered.
        self._post.send(str(effect.to), encoding.encode(effect.message))
