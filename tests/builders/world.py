"""A model world for plans: members, etcd and a clock, to which a Plan can be applied. No process, no I/O.

world = World(servers=2, workers=3).running(step=100)
world.kill("server", 1)
assert acts(world.plan()) == ["delete server-1-0", "create server-1-1"]
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Self

from deepseek_operator.api.status import JobStatus
from deepseek_operator.reconcile.intent import Intent
from deepseek_operator.reconcile.observe import EtcdSeen, EtcdView, MemberSeen, Now, Observed, Obstacle
from deepseek_operator.reconcile.plan import Plan, plan
from deepseek_operator.reconcile.status import with_events
from deepseek_runtime.contract.names import Member, Role
from deepseek_runtime.contract.records import (
    Command,
    ExitRecord,
    Finished,
    Progress,
    Registration,
    Request,
    State,
)

EPOCH = 1_700_000_000.0


def acts(plan: Plan) -> list[str]:
    """A plan in words, without its status: what a table of expectations is written in."""
    words = [f"{verb} {member}" for verb in ("delete", "terminate", "create") for member in getattr(plan, verb)]
    if plan.term is not None:
        servers = ",".join(f"{s.index}-{s.incarnation}" for s in plan.term.servers)
        sources = "".join(f" from {s.index}-{s.incarnation}" for s in plan.term.sources)
        words.append(f"term {plan.term.number}: {servers}{sources}{' restore' if plan.term.restore else ''}")
    words += [f"command {id}" for id, _ in plan.commands]
    words += [f"drop {id}" for id in (*plan.drop_commands, *plan.drop_requests)]
    if plan.ended:
        words.append("ended")
    return words


def true_conditions(status: JobStatus) -> list[str]:
    return [f"{c.type}/{c.reason}" for c in status.conditions if c.status == "True" and c.type != "Created"]


class World:
    def __init__(self, servers: int = 2, workers: int = 3, **intent: object) -> None:
        self.intent = replace(Intent(job="digits", uid="u1"), servers=servers, workers=workers)
        self.asks(**intent)
        self.members: dict[Member, MemberSeen] = {}
        self.view = EtcdView(listed_at=0.0)
        self.status = JobStatus()
        self.etcd: EtcdSeen | None = None
        self.obstacle: Obstacle | None = None
        self.time = 100.0

    # what happens

    def asks(self, **intent: object) -> Self:
        self.intent = replace(self.intent, **intent)  # type: ignore[arg-type]
        return self

    def later(self, seconds: float) -> Self:
        self.time += seconds
        return self

    def register(self, *roles: Role) -> Self:
        """Everybody alive in these roles (all, if none is named) registers."""
        found = dict(self.view.registrations)
        for m in self.members.values():
            if m.alive and m.role in (roles or ("server", "worker")):
                known = found.get((m.role, m.index))
                if known is None or known.incarnation < m.incarnation:
                    address = f"tcp://127.0.0.1:{7000 + 10 * m.index + m.incarnation}" if m.role == "server" else ""
                    found[(m.role, m.index)] = Registration(address=address, incarnation=m.incarnation)
        self.view = replace(self.view, registrations=found)
        return self

    def open_term(self) -> Self:
        assert self.view.term is not None
        state = self.view.state or State()
        self.view = replace(self.view, state=state.model_copy(update={"opened": self.view.term.number}))
        return self

    def train(self, step: int, **progress: object) -> Self:
        """The chief reports, and every registered worker has trained."""
        term = self.view.term.number if self.view.term else 0
        record = Progress(term=term, step=step, steps=20_000, last_range_time=EPOCH + self.time)
        found = {
            key: r.model_copy(update={"trained": r.trained + 1}) if key[0] == "worker" else r
            for key, r in self.view.registrations.items()
        }
        self.view = replace(self.view, progress=record.model_copy(update=progress), registrations=found)
        return self

    def running(self, step: int = 100) -> Self:
        """All created, registered, term 1 open, some steps done."""
        self.settle()
        self.register().settle()
        self.open_term().later(1.0).train(step).settle()
        return self

    def end(
        self, role: Role, index: int, code: int | None = None, reason: str = "Crashed", message: str = "", **rest: int
    ) -> Self:
        """The living member of a seat ends: killed without a record, or with one. Its registration stays its 10 s."""
        member = max((m for m in self.members.values() if (m.role, m.index) == (role, index) and m.alive),
                     key=lambda m: m.incarnation)  # fmt: skip
        first = bool(rest.get("first_range"))
        record = (
            None
            if code is None
            else ExitRecord(code=code, reason=reason, message=message, range=rest.get("range"), first_range=first)
        )
        self.members[member.member] = replace(
            member, phase="gone", exit=record, signal=9 if code is None else None, ended=EPOCH + self.time
        )
        return self

    def kill(self, role: Role, index: int) -> Self:
        return self.end(role, index)

    def add(self, role: Role, index: int, incarnation: int) -> Self:
        self._make(Member(role, index, incarnation))
        return self

    def request(self, id: str, kind: str, term: int, **rest: object) -> Self:
        made = Request.model_validate({"kind": kind, "term": term, **rest})
        self.view = replace(self.view, requests={**self.view.requests, id: made})
        return self

    def finish(self, term: int, step: int = 20_000) -> Self:
        state = self.view.state or State()
        done = state.model_copy(update={"finished": Finished(term=term, step=step)})
        self.view = replace(self.view, state=done)
        return self

    def drained(self, term: int) -> Self:
        state = self.view.state or State()
        self.view = replace(self.view, state=state.model_copy(update={"drained": term}))
        return self

    def acknowledge(self, id: str) -> Self:
        self.view = replace(self.view, commands={**self.view.commands, id: Command(kind="drain", acknowledged=True)})
        return self

    def silent_etcd(self) -> Self:
        self.view = replace(self.view, unknown_since=self.time)
        return self

    def talking_etcd(self) -> Self:
        self.view = replace(self.view, unknown_since=None)
        return self

    def emptied_etcd(self) -> Self:
        self.view = EtcdView(listed_at=self.time)
        return self

    # planning

    def seen(self) -> Observed:
        ordered = tuple(self.members[key] for key in sorted(self.members))
        return Observed(ordered, self.view, self.status, Now(EPOCH + self.time, self.time), self.etcd, self.obstacle)

    def plan(self) -> Plan:
        return plan(self.intent, self.seen())

    def apply(self, made: Plan) -> Self:
        self.status = with_events(made.status, made.events)
        for member in made.delete:
            self.members.pop(member, None)
        for member in made.terminate:
            self.members[member] = replace(self.members[member], terminating=True)
        for member in made.create:
            self._make(member)
        view = self.view
        if made.term is not None:
            assert view.fresh
            assert view.term is None or view.term.number < made.term.number
            view = replace(view, term=made.term)
        commands = {**view.commands, **dict(made.commands)}
        for id in made.drop_commands:
            del commands[id]
        requests = {id: r for id, r in view.requests.items() if id not in made.drop_requests}
        self.view = replace(view, commands=commands, requests=requests)
        return self

    def step(self) -> list[str]:
        """Plans and applies once; what was done."""
        made = self.plan()
        self.apply(made)
        return acts(made)

    def settle(self, rounds: int = 10) -> list[str]:
        """Plans and applies until nothing is to be done at this moment; all that was done."""
        done: list[str] = []
        for _ in range(rounds):
            made = self.plan()
            if not made.writes(self.status):
                return done
            done += [act for act in acts(made) if act != "ended"]
            self.apply(made)
        raise AssertionError(f"does not settle: {done[-8:]}, {made.events[-3:]}")

    def _make(self, member: Member) -> None:
        known = self.members.get(member)
        assert known is None or not known.made
        pid = 1000 + len(self.members)
        self.members[member] = MemberSeen(
            member.role, member.index, member.incarnation, "running", pid=pid, started=str(pid), since=EPOCH + self.time
        )


Given = Callable[[World], object]
