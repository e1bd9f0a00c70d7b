"""What server.py does around its machines, server and chief: effects carried out, etcd and the store asked."""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from deepseek_runtime.contract.exit_codes import OK
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import Progress, Registration, Request, TermRecord
from deepseek_runtime.protocol import term as terms
from deepseek_runtime.protocol.chief import Chief
from deepseek_runtime.protocol.effects import (
    Effect,
    Fail,
    Failed,
    ListWorkers,
    LogPush,
    Note,
    ReadTerm,
    RollBack,
    Send,
    WriteState,
)
from deepseek_runtime.protocol.messages import Beat, Hello, Message, Push, Report
from deepseek_runtime.protocol.server_orders import AppliedReport, Done, Joined
from deepseek_runtime.protocol.serving import Server
from simulator.clock import Violation
from simulator.processes import Process
from simulator.store import Writer
from simulator.tally import Made, TallyRule, span_parts

if TYPE_CHECKING:
    from simulator.job import Job


class ServerProcess(Process):
    def __init__(self, job: "Job", me: Member) -> None:
        super().__init__(job, me)
        build = lambda _, index, samples: span_parts(job.method, index, self._applied)  # noqa: E731
        self.machine = Server(me, build, 1.0, job.shape.piece)
        self.chief: Chief | None = None
        self.writer = Writer(job.store, self.run, lambda: self.alive, self._result)
        self._local: deque[Message] = deque()
        self._emptied = 0
        self._commands: set[str] = set()
        self._push: tuple[Member, Push] | None = None
        self._progress_at = 0.0
        self._followed_term = 0
        self.etcd.register(("server", me.index), Registration(address=f"sim://{me}", incarnation=me.incarnation))

    def terminate(self) -> None:
        self.terminating = True
        self.run(self.leave, OK, "Stopped")

    def _applied(self, rule: TallyRule, w: float) -> Made:
        following = self.machine.backing.taking
        if following is not None:
            return self.job.oracle.on_follow(self.machine, rule, following, w)
        assert self._push is not None
        return self.job.oracle.on_apply(self.machine, rule, *self._push, w)

    # --- the loop

    def on_tick(self) -> None:
        self.on_view()
        now = self.clock.now
        if self.alive:
            self.carry_out(self.machine.on_tick(now))
        if self.alive and self.chief is not None:
            self.carry_out(self.chief.on_tick(now))
            self._report_progress()

    def deliver(self, sender: Member, message: Message) -> None:
        now = self.clock.now
        if isinstance(message, Hello | Beat | Report | Joined | Done | AppliedReport):
            if self.chief is not None:
                self.carry_out(self.chief.on_message(sender, message, now))
                self.job.oracle.on_chief(self.chief)
            return
        before = self.machine.number
        if isinstance(message, Push):
            self._push = (sender, message)
        effects = self.machine.on_message(sender, message, now)
        self._push = None
        self.job.oracle.on_server(self.machine)
        self.carry_out(effects)
        if self.machine.number != before and self.machine.record is not None:
            self._followed(self.machine.record)

    def _result(self, call: Any, result: Any) -> None:
        now = self.clock.now
        effects = self.machine.on_result(call, result, now)
        self.job.oracle.on_server(self.machine)
        self.carry_out(effects)
        if self.chief is not None:
            self.carry_out(self.chief.on_result(call, result, now, now))
            self.job.oracle.on_chief(self.chief)

    def on_view(self) -> None:
        view, now = self.etcd, self.clock.now
        if view.superseded:
            self.leave(OK, "Superseded")
            return
        if view.term is not None and self.machine.follows(view.term):
            self.carry_out(self.machine.on_term(view.term, now))
            self._followed(view.term)
        if view.emptied > self._emptied:
            self._emptied = view.emptied
            if self.chief is not None:
                self.carry_out(self.chief.on_state_lost())
        if self.chief is None:
            return
        for known in [w for w in self.chief.workers.seen if self._replaced(w)]:
            self.carry_out(self.chief.on_replaced(known, now))
        for id, command in view.commands.items():
            if not command.acknowledged and id not in self._commands:
                self._commands.add(id)
                self.clock.log("%s: command %s", self.me, command.kind)
                if command.kind == "drain":
                    self.chief.drain()
                else:
                    self.chief.checkpoint()
                self.etcd.call(lambda id=id, c=command: self._acknowledge(id, c), lambda result: None)  # type: ignore[misc]

    def _replaced(self, worker: Member) -> bool:
        registered = self.etcd.registrations.get(("worker", worker.index))
        return registered is not None and registered.incarnation > worker.incarnation

    def _acknowledge(self, id: str, command: Any) -> bool:
        if id in self.job.etcd.commands:
            self.job.etcd.commands[id] = command.model_copy(update={"acknowledged": True})
            self.job.etcd.changed()
        return True

    def _followed(self, record: TermRecord) -> None:
        self.clock.log("%s follows term %d", self.me, record.number)
        if record.number <= self._followed_term:
            raise Violation(f"{self.me} goes back from term {self._followed_term} to {record.number}")
        self._followed_term = record.number
        self.chief = None
        self._commands.clear()
        if terms.chief(record) == self.me:
            known = self.job.etcd.progress
            self.chief = Chief(record, self.job.settings, known.guard if known is not None else None)
            self.carry_out(self.chief.start(self.clock.now))

    # --- effects

    def carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if not self.alive:
                return
            self.job.passes(type(effect).__name__)
            if isinstance(effect, Send):
                self.job.oracle.on_said(self.machine, effect.to, effect.message)
                if effect.to == self.me:
                    self._local.append(effect.message)
                else:
                    self.job.network.send(self.me, effect.to, effect.message)
            elif isinstance(effect, Note):
                self.clock.log("%s: %s %s", self.me, effect.reason, effect.text)
                self.job.notes.append(effect)
            elif isinstance(effect, Fail):
                request = Request(kind="fail", term=self.machine.number, reason=effect.text, code=effect.code)
                self._put_request(f"fail-{self.machine.number}", request)
            elif isinstance(effect, RollBack):
                request = Request(kind="roll_back", term=self.machine.number, reason=effect.text)
                if self.chief is not None and self.chief.ledger is not None:
                    self._write_progress(self.chief)
                self._put_request(f"roll-back-{self.machine.number}", request)
            elif isinstance(effect, LogPush):
                continue
            elif isinstance(effect, ReadTerm | WriteState | ListWorkers):
                self.clock.log("%s: %s", self.me, effect)
                self._to_etcd(effect)
            else:
                self.writer.call(effect)  # type: ignore[arg-type]
        while self._local and self.alive:
            self.deliver(self.me, self._local.popleft())

    def _to_etcd(self, call: ReadTerm | WriteState | ListWorkers) -> None:
        etcd = self.job.etcd

        def do() -> Any:
            if isinstance(call, WriteState):
                return etcd.put_state(call.state, call.term)
            return etcd.term if isinstance(call, ReadTerm) else self._workers()

        self.etcd.call(do, lambda result: self._result(call, result))

    def _put_request(self, id: str, request: Request) -> None:
        def done(result: Any) -> None:
            if isinstance(result, Failed):
                self._put_request(id, request)

        self.etcd.call(lambda: self.job.etcd.put_request(id, request), done)

    def _workers(self) -> tuple[Member, ...] | Failed:
        """As edge/outside.py: a listing counts only when etcd has been there for a while."""
        view, now = self.etcd, self.clock.now
        listed = view.listed_at if view.emptied and view.listed_at is not None else None
        if self.job.grace and any(
            since is not None and now - since < self.job.etcd.ttl for since in (view.silent_at, listed)
        ):
            return Failed("etcd", "etcd has been back for too short a time")
        return tuple(
            Member(role, index, registration.incarnation)
            for (role, index), registration in view.registrations.items()
            if role == "worker"
        )

    def _report_progress(self) -> None:
        chief, now = self.chief, self.clock.now
        if chief is None or chief.ledger is None or now - self._progress_at < 2.0 or not self.etcd.reachable:
            return
        self._progress_at = now
        self._write_progress(chief)

    def _write_progress(self, chief: Chief) -> None:
        assert chief.ledger is not None
        if self.job.etcd.may_write(chief.number):
            self.job.etcd.progress = Progress(
                term=chief.number,
                step=chief.ledger.steps_done,
                steps=chief.ledger.plan.steps,
                last_range_time=chief.tracking.last_done,
                guard=chief.guarding.state,
            )
