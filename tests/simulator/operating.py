"""The operator: the real plan(), in rounds, and what an executor does with members of the simulation."""

from dataclasses import replace
from typing import TYPE_CHECKING

from deepseek_operator.api.status import JobStatus
from deepseek_operator.reconcile.intent import Intent
from deepseek_operator.reconcile.observe import MemberSeen, Now, observe
from deepseek_operator.reconcile.plan import Plan, plan
from deepseek_operator.reconcile.status import with_events
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import State
from simulator.etcd import Client

if TYPE_CHECKING:
    from simulator.job import Job

EPOCH = 1_700_000_000.0
ROUND = 0.3


class Operator:
    """`status` is what it has saved; killed and started again, it knows nothing else."""

    def __init__(self, job: "Job", servers: int, workers: int) -> None:
        self.job = job
        self.intent = Intent(
            job="tally",
            uid="u",
            servers=servers,
            workers=workers,
            backoff_limit=10_000,
            every_steps=8,
            steps=job.shape.steps,
        )
        self.status = JobStatus()
        self.paused = False
        self.ended = False
        self.last_state: State | None = None
        self._removed: set[Member] = set()
        self._starting: set[Member] = set()
        self._due = False
        self._view = self._connect()
        job.on_change = self.wake
        job.clock.after(0.0, self._round)

    def _connect(self) -> Client:
        return Client(self.job.etcd, "operator", lambda do, *args: do(*args), self.wake)

    # --- rounds

    def wake(self, delay: float = ROUND) -> None:
        if not self._due:
            self._due = True
            self.job.clock.after(delay, self._round)

    def _round(self) -> None:
        self._due = False
        if self.paused:
            self.wake()
            return
        clock = self.job.clock
        now = Now(EPOCH + clock.now, clock.now)
        self.last_state = self._view.state or self.last_state
        made = plan(self.intent, observe(self._members(), self._view, self.status, now))
        self.ended = made.ended
        if made.writes(self.status):
            self.status = with_events(made.status, made.events)
            for event in made.events:
                clock.log("operator: %s %s", event.reason, event.message)
            self._apply(made)
            self.wake()
        if not self._write(made):
            self.wake(1.0)
        elif made.requeue_after is not None:
            self.wake(max(ROUND, made.requeue_after))

    def _members(self) -> list[MemberSeen]:
        coming = [MemberSeen(m.role, m.index, m.incarnation, "starting") for m in self._starting - self._removed]
        return coming + [
            MemberSeen(
                m.role,
                m.index,
                m.incarnation,
                "running" if p.alive else "gone",
                exit=p.exit,
                signal=9 if p.exit is None and not p.alive else None,
                ended=EPOCH + p.ended_at if p.ended_at is not None else None,
                terminating=p.terminating,
                pid=1,
                started="1",
            )
            for m, p in self.job.members.items()
            if m not in self._removed
        ]

    def _apply(self, made: Plan) -> None:
        job = self.job
        for member in made.delete:
            self._removed.add(member)
            if member in job.members:
                job.members[member].kill()
        for member in made.terminate:
            if member in self._starting:
                self._removed.add(member)
            elif job.members[member].alive:
                job.members[member].terminate()
        for member in made.create:
            self._starting.add(member)
            job.clock.after(job.clock.random.uniform(0.2, 1.2), self._start, member)

    def _start(self, member: Member) -> None:
        self._starting.discard(member)
        if member not in self._removed:
            self.job.start(member)
            self.wake()

    def _write(self, made: Plan) -> bool:
        etcd = self.job.etcd
        wanted = made.term or made.commands or made.drop_commands or made.drop_requests
        if not wanted:
            return True
        if not self._view.reachable:
            return False
        if made.term is not None and not etcd.raise_term(made.term):
            return False
        for id, command in made.commands:
            etcd.commands[id] = command
        for id in made.drop_commands:
            etcd.commands.pop(id, None)
        for id in made.drop_requests:
            etcd.requests.pop(id, None)
        etcd.changed()
        return True

    # --- what happens to it

    def asks(self, **intent: object) -> None:
        self.job.clock.log("asked for: %s", intent)
        self.intent = replace(self.intent, **intent)  # type: ignore[arg-type]
        self.wake()

    def restart(self) -> None:
        """The supervisor is killed; another one adopts what it left."""
        self.job.clock.log("the operator starts again")
        self._view.close()
        self._view = self._connect()
        self.wake()

    def again(self, restore: bool) -> None:
        """Another term with the same servers: a roll-back, or one that continues."""
        term = self.status.term
        if term.number and self.status.opened >= term.number and not self.status.finished:
            self.status = self.status.model_copy(
                update={"term": term.model_copy(update={"number": term.number + 1, "restore": restore, "sources": ()})}
            )
            self.wake()
