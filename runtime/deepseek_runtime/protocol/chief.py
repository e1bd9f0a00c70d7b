"""The chief of one term: opens it, knows who is alive, has ranges leased and checkpoints stored, ends the job.

Lives in the process of the term's server 0, for this term only; a new term has a new chief, which never keeps an
old ledger (protocol.md, Chief 1).
"""

from typing import Any

from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import GuardState, State, TermRecord
from deepseek_runtime.protocol import term as terms
from deepseek_runtime.protocol.effects import (
    Call,
    Clean,
    Effect,
    FindCheckpoint,
    ListWorkers,
    Note,
    ReadTerm,
    Send,
    WriteBase,
    WriteIndex,
    WriteState,
)
from deepseek_runtime.protocol.ending import Ending
from deepseek_runtime.protocol.guarding import Guarding
from deepseek_runtime.protocol.leasing import Leasing
from deepseek_runtime.protocol.ledger import Ledger
from deepseek_runtime.protocol.messages import (
    Acknowledged,
    Ask,
    Beat,
    Hello,
    NewTerm,
    Report,
    ToChief,
    Unknown,
    Welcome,
)
from deepseek_runtime.protocol.opening import Opened, Opening
from deepseek_runtime.protocol.orders import Orders
from deepseek_runtime.protocol.saving import Saving
from deepseek_runtime.protocol.server_orders import AppliedReport, Done, Joined, ReportTaken
from deepseek_runtime.protocol.settings import Settings
from deepseek_runtime.protocol.speakers import fault_of
from deepseek_runtime.protocol.tickets import Tickets
from deepseek_runtime.protocol.tracking import Tracking
from deepseek_runtime.protocol.workers import Workers

CALLS = (ReadTerm, FindCheckpoint, WriteIndex, WriteBase, WriteState, ListWorkers, Clean)


class Chief:
    """`start` once; then messages, results and ticks. `tracking` is what people see of it."""

    def __init__(self, record: TermRecord, settings: Settings, guard: GuardState | None = None) -> None:
        """guard: what an earlier chief's progress says of it."""
        self.record = record
        self.servers = terms.servers(record)
        self.settings = settings
        self.workers = Workers(settings.timing.worker_lost)
        self.tickets = Tickets()
        self.orders = Orders(record.number, settings.timing.heartbeat)
        self.opening = Opening(record, settings, self.orders, self.workers)
        self.tracking = Tracking()
        self.guarding = Guarding(settings.guard, settings.gradient, settings.lowered, guard)
        self.opened: Opened | None = None
        self.leasing: Leasing | None = None
        self.saving: Saving | None = None
        self.ending: Ending | None = None
        self.drain_wanted = False
        self._checkpoint_due: int | None = None
        self._checkpoint_missed = False
        """One was due while the guard was not calm."""
        self._state_at: float | None = None
        self._asked: list[Call] = []

    @property
    def number(self) -> int:
        return self.record.number

    @property
    def ledger(self) -> Ledger | None:
        return self.leasing.ledger if self.leasing is not None else None

    def start(self, now: float) -> list[Effect]:
        return self._asking(self.opening.start(now))

    # --- messages ---------------------------------------------------------------------------------------------------

    def on_message(self, sender: Member, message: ToChief, now: float) -> list[Effect]:
        if message.term != self.number:
            return [Send(sender, NewTerm(self.record))] if message.term < self.number else []
        if isinstance(message, Done):
            effects = self.orders.on_done(sender, message, now)
        elif isinstance(message, AppliedReport):
            effects = self._on_applied(sender, message, now)
        elif isinstance(message, Joined):
            effects = self.orders.on_joined(sender)
        elif isinstance(message, Hello):
            effects = self._on_hello(sender, message, now)
        elif isinstance(message, Beat):
            effects = self._on_beat(sender, message, now)
        elif (fault := fault_of(message)) is not None:
            effects = [Note("ReportRefused", f"{sender} reports {message.kind}, which cannot be read: {fault}", True)]
        else:
            effects = self._on_report(sender, message, now)
        return self._asking([*effects, *self._go_on(now)])

    def _asking(self, effects: list[Effect]) -> list[Effect]:
        """Notes the calls among them: an answer to a chief of an earlier term in the same process is not ours."""
        self._asked += [effect for effect in effects if isinstance(effect, CALLS)]
        return effects

    def _is_ours(self, call: Call) -> bool:
        for place, asked in enumerate(self._asked):
            if asked is call:
                del self._asked[place]
                return True
        return False

    def on_result(self, call: Call, result: Any, now: float, wall: float) -> list[Effect]:
        if not self._is_ours(call):
            return []
        effects: list[Effect] = []
        if self.opened is None:
            effects += self.opening.on_result(call, result, now)
        if self.saving is not None:
            effects += self.saving.on_result(call, result, now, wall)
        if self.ending is not None:
            effects += self.ending.on_result(call, result, now)
        if isinstance(call, WriteState) and not self._recording:
            stands = result is True and call.state == self.state
            self._state_at = None if stands else now + self.settings.timing.heartbeat
        return self._asking([*effects, *self._go_on(now)])

    def on_tick(self, now: float) -> list[Effect]:
        effects = self.orders.on_tick(now)
        for worker in self.workers.lost(now):
            effects += self._on_lost(worker, now, "no heartbeat")
        if self.opened is None:
            effects += self.opening.on_tick(now)
        if self.saving is not None:
            effects += self.saving.on_tick(now)
        if self.ending is not None:
            effects += self.ending.on_tick(now)
        if self._state_at is not None and now >= self._state_at:
            self._state_at = None
            if not self._recording:
                effects.append(WriteState(self.number, self.state))
        return self._asking([*effects, *self._go_on(now)])

    # --- what people and the operator see ----------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """`state.opened` and `state.finished` are written at once, and again if etcd lost them."""
        if self.ending is not None and self.ending.recorded:
            return self.ending.state
        return State(opened=self.number if self.opened is not None else 0)

    @property
    def _recording(self) -> bool:
        """The end writes the state itself, until it stands there."""
        return self.ending is not None and self.ending.phase == "recording"

    def on_state_lost(self) -> list[Effect]:
        """etcd was emptied. While the end records `finished`, `opened` alone would be written over it."""
        if self.opened is None or self._recording:
            return []
        return self._asking([WriteState(self.number, self.state)])

    def drain(self) -> None:
        """Suspend, stop: the next events carry it out."""
        self.drain_wanted = True

    def checkpoint(self) -> None:
        """A checkpoint out of turn, at the present step."""
        if self.ledger is not None:
            self._checkpoint_due = self.ledger.steps_done

    # --- workers ----------------------------------------------------------------------------------------------------

    def _on_hello(self, worker: Member, hello: Hello, now: float) -> list[Effect]:
        if self.workers.superseded(worker):
            return []
        effects: list[Effect] = []
        seen_before = worker in self.workers.seen
        for older in self.workers.hello(worker, hello, now):
            effects += self._on_lost(older, now, "replaced")
        if self.opened is None:
            return [*effects, *self.opening.on_hello(now)]
        return [*effects, *self._welcome(worker, seen_before, now)]

    def _welcome(self, worker: Member, seen_before: bool, now: float) -> list[Effect]:
        opened, leasing, saving = self.opened, self.leasing, self.saving
        assert opened is not None and leasing is not None and saving is not None
        seen = self.workers.seen[worker]
        seen.welcomed = True
        lease, effects = leasing.at_hello(worker, seen.hello, now)
        welcome = Welcome(
            self.number,
            opened.branch,
            opened.space.to_json(),
            opened.samples,
            lease,
            opened.fixed,
            saving.moments,
            leasing.ledger.steps_done,
            saving.loss_scale,
        )
        return [*effects, Send(worker, welcome)]

    def on_replaced(self, worker: Member, now: float) -> list[Effect]:
        """etcd shows a newer incarnation of this worker: its lease need not wait for the heartbeat's silence."""
        return self._asking([*self._on_lost(worker, now, "replaced"), *self._go_on(now)])

    def _on_beat(self, worker: Member, beat: Beat, now: float) -> list[Effect]:
        seen = self.workers.beat(worker, beat, now)
        if seen is None:
            return [] if self.workers.superseded(worker) else [Send(worker, Unknown(self.number))]
        if self.leasing is None or not seen.welcomed:
            return []
        return self.leasing.on_beat(worker, beat, now)

    def _on_lost(self, worker: Member, now: float, why: str) -> list[Effect]:
        self.workers.leave(worker)
        self.tickets.lost([worker])
        effects = self.opening.on_lost(worker, now) if self.opened is None else []
        if self.leasing is not None:
            effects += self.leasing.on_lost(worker, now)
        if self.ending is not None and self.ending.recorded:
            return effects  # they were told to leave
        return [*effects, Note("WorkerLost", f"{worker}: {why}", True)]

    def _on_report(self, worker: Member, report: Report, now: float) -> list[Effect]:
        effects: list[Effect] = [Send(worker, Acknowledged(self.number, report.key))]
        if report.kind == "offer":
            return [*effects, *self.opening.on_offer(worker, report.body, now)]
        if report.kind == "leaving":
            if worker in self.workers.seen:
                effects += self._on_left(worker, now)
        elif report.kind == "flushed" and self.ending is not None:
            effects += self.ending.on_flushed(worker, now)
        elif report.kind == "moments" and self.tickets.close(report.key) and self.saving is not None:
            effects += self.saving.on_moments(report.body)
        elif report.kind == "evaluated" and self.tickets.close(report.key):
            effects += self._on_evaluated(report, now)
        return effects

    def _on_left(self, worker: Member, now: float) -> list[Effect]:
        effects: list[Effect] = [e for e in self._on_lost(worker, now, "left") if not isinstance(e, Note)]
        effects.append(Note("WorkerLeft", str(worker)))
        if self.ending is not None:
            effects += self.ending.on_flushed(worker, now)
        return effects

    def _on_evaluated(self, report: Report, now: float) -> list[Effect]:
        step, metrics = int(report.body["step"]), dict(report.body["metrics"])
        self.tracking.evaluated(step, metrics)
        text = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        effects: list[Effect] = [Note("Evaluated", f"step {step}: {text}", fields={"step": step, **metrics})]
        if self.ending is not None and report.key == self.ending.evaluation_key:
            effects += self.ending.on_evaluated(now)
        return effects

    # --- ranges done -------------------------------------------------------------------------------------------------

    def _on_applied(self, server: Member, report: AppliedReport, now: float) -> list[Effect]:
        leasing = self.leasing
        self.tracking.server(server, report.wire_bytes, report.residuals, report.pushed)
        if leasing is None:
            return []
        ledger = leasing.ledger
        effects: list[Effect] = []
        for push in report.pushes:
            leasing.skips.pushed(push["g"])
            if push["g"] not in ledger.done:  # a report may be told twice
                effects += self.guarding.pushed(push)
            self.tracking.push(push, len(ledger.done), ledger.leases.values(), now)
            if self.saving is not None and self.tracking.loss_scale is not None:
                self.saving.loss_scale = self.tracking.loss_scale
        before = ledger.steps_done
        for g, spans in report.ranges:
            if ledger.report(g, spans):
                self.tracking.done(now)
        if ledger.steps_done > before:
            self._crossed(before, ledger.steps_done, now)
        return [*effects, Send(server, ReportTaken(self.number, report.number))]

    def _crossed(self, before: int, after: int, now: float) -> None:
        """Steps at which something is due: a checkpoint, an evaluation. The last step belongs to the End (18)."""
        assert self.ledger is not None
        due = self.multiple(before, after, self.settings.checkpoint_every)
        if due is not None:
            self._checkpoint_due = due
        due = self.multiple(before, after, self.settings.evaluate_every)
        if due is not None:
            self.tickets.add(Ask(self.number, f"evaluate/{self.number}/{due}", "evaluate", step=due), now)

    def multiple(self, before: int, after: int, every: int) -> int | None:
        assert self.ledger is not None
        if not every or before // every == after // every or after >= self.ledger.plan.steps:
            return None
        return after // every * every

    # --- after each event --------------------------------------------------------------------------------------------

    def _go_on(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self.opened is None and self.opening.result is not None:
            effects += self._on_opened(self.opening.result, now)
        if self.opened is None or self.ledger is None or self.saving is None:
            return effects
        held_back = self.ending is not None or self.drain_wanted
        if not held_back and self.saving.idle:
            effects += self._save_what_is_due(self.saving, now)
        if self.ending is None and self.should_end():
            effects += self._end(now)
        if self.ending is not None and self.ending.phase == "saving":
            effects += self.ending.on_tick(now)
        return [*effects, *self._serve(now)]

    def _save_what_is_due(self, saving: Saving, now: float) -> list[Effect]:
        """While losses are implausible none is made; what was missed is made up for when they are plausible again."""
        assert self.ledger is not None
        step, self._checkpoint_due = self._checkpoint_due, None
        if not self.guarding.calm:
            self._checkpoint_missed |= step is not None
            return []
        if step is None and self._checkpoint_missed and self.ledger.steps_done < self.ledger.plan.steps:
            step = self.ledger.steps_done
        if step is None:
            return []
        self._checkpoint_missed = False
        self.guarding.checkpointed()
        return saving.start(step, now)

    def _on_opened(self, opened: Opened, now: float) -> list[Effect]:
        self.opened = opened
        timing = self.settings.timing
        plan = self.settings.plan(opened.samples)
        spans = len(opened.space.spans)
        ledger = Ledger(self.number, plan, spans, self.settings.bound, self.settings.share, self.settings.publish_every)
        self.guarding.opened(opened.restored is not None)
        ledger.caution, ledger.slower = self.guarding.caution, self.guarding.slower
        self.leasing = Leasing(
            self.number, opened.branch, spans, self.servers, ledger, self.orders, self.workers, self.guarding
        )
        self.saving = Saving(self.number, self.servers, opened, self.orders, self.tickets, timing.moments)
        effects = self.leasing.start(opened.states, now)
        self.tracking.opened(now)
        where = "initial weights" if opened.restored is None else f"checkpoint of step {opened.restored[1]}"
        if opened.restored is None:
            where = "the state that was there"
        text = f"term {self.number}: {len(self.servers)} servers, from {where}"
        note = Note("TermOpened", text, fields={"restored_step": opened.restored[1] if opened.restored else None})
        effects += [note, WriteState(self.number, self.state)]
        for worker in sorted(self.workers.seen):
            effects += self._welcome(worker, True, now)
        return effects

    def should_end(self) -> bool:
        """All ranges done or skipped; or a drain is wanted and no lease is out. Never of a job that has failed."""
        assert self.leasing is not None
        ledger = self.leasing.ledger
        if self.leasing.skips.given_up:
            return False
        return ledger.complete or (self.drain_wanted and not ledger.leases)

    def _end(self, now: float) -> list[Effect]:
        ledger, saving = self.ledger, self.saving
        assert ledger is not None and saving is not None
        self.ending = Ending(
            self.number,
            self.servers,
            ledger.steps_done if ledger.complete else saving.free_step(ledger.steps_done),
            ledger.complete,
            self.settings.timing,
            self.orders,
            self.tickets,
            saving,
            self.workers,
        )
        return self.ending.start(now)

    def _serve(self, now: float) -> list[Effect]:
        """Idle workers get a ticket, or a range."""
        leasing = self.leasing
        assert leasing is not None
        effects: list[Effect] = []
        for worker in self.workers.waiting():
            ticket = self.tickets.next_for(worker) if leasing.ledger.of(worker) is None else None
            given: list[Effect] = []
            if ticket is not None:
                given = [Send(worker, ticket)]
            elif self.ending is None and not self.drain_wanted:
                given = leasing.grant(worker)
            if given:
                self.workers.seen[worker].wants = False
            effects += given
        return effects
