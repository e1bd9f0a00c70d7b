"""Traces 15 and 19, and the first of 8: spans move between servers while training goes on."""

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.lineage import Base
from deepseek_runtime.protocol.messages import Message
from deepseek_runtime.protocol.neighbours import HandOver
from simulator.job import Job, Shape
from simulator.network import Verdict
from simulator.operating import Operator
from simulator.traces.stage import S0, S1, S2, again, chief_of, done, finish, opened, server, stage, started, watched


def operated(servers: int, seed: int = 1, **shape: object) -> tuple[Job, Operator]:
    """With an operator; it has begun."""
    even: dict[str, object] = {"latency": (0.01, 0.01), "storing": (0.01, 0.01), "range_seconds": (0.1, 0.1)}
    job = Job(Shape(servers=servers, **{**even, **shape}), seed)  # type: ignore[arg-type]
    operator = Operator(job, servers, job.shape.workers)
    job.run_until(lambda: operator.status.opened == 1)
    return job, operator


def ended(job: Job, operator: Operator) -> None:
    job.run_until(lambda: bool(operator.status.finished), 120.0)
    assert operator.status.exit_code == 0 and operator.last_state is not None
    job.oracle.finished(operator.last_state)


def trace_15_up_and_down() -> None:
    """2 -> 3 -> 1 while workers train: nobody goes back, nothing is trained twice."""
    job, operator = operated(2, method="sparse", steps=160, checkpoint_every=400)
    for servers, term in ((3, 2), (1, 3)):
        before = job.chief()
        assert before is not None and before.chief is not None
        ledger = before.chief.ledger
        assert ledger is not None
        job.run_until(lambda ledger=ledger: len(ledger.done) >= 4)  # type: ignore[misc]
        operator.asks(servers=servers)
        job.run_until(lambda term=term: operator.status.opened == term, 20.0)  # type: ignore[misc]
        assert job.store.bases[term] == Base(continues=term - 1)
        job.run_until(lambda servers=servers: len(job.servers()) == servers, 20.0)  # type: ignore[misc]
        job.run_for(2.0)
    ended(job, operator)


def trace_15_removed_when_opened() -> None:
    """3 -> 2: S2's spans are slow to arrive: it lives until the term without it is open."""
    job, operator = operated(3, steps=80, checkpoint_every=400)
    watched(job, lambda s, t, m: "hold" if isinstance(m, HandOver) and s == S2 else None)
    operator.asks(servers=2)
    job.run_until(lambda: any(s == S2 for s, _, _ in job.network.held), 20.0)
    job.run_for(20.0)
    assert job.members[S2].alive, "deleted before its spans were handed over"
    watched(job, lambda s, t, m: None)
    job.network.release()
    job.run_until(lambda: operator.status.opened == 2, 40.0)
    assert job.store.bases[2] == Base(continues=1)
    job.run_until(lambda: not job.members[S2].alive, 20.0)
    ended(job, operator)


def trace_19_source_lost() -> None:
    """3 -> 2: S2 dies before its spans are handed over: the operator raises again without it; all go back."""
    job, operator = operated(3, steps=60, checkpoint_every=8)
    job.run_for(2.0)
    watched(job, lambda s, t, m: "hold" if isinstance(m, HandOver) and s == S2 else None)
    operator.asks(servers=2)
    job.run_until(lambda: any(s == S2 for s, _, _ in job.network.held), 20.0)
    job.members[S2].kill()
    watched(job, lambda s, t, m: None)
    job.run_until(lambda: operator.status.opened == 3, 60.0)
    assert job.store.bases[3].restored is not None
    ended(job, operator)


def trace_19_source_lost_with_a_backup() -> None:
    """The same with backups: S0 has S2's spans, so nobody goes back."""
    job, operator = operated(3, steps=60, checkpoint_every=400, backup=True)
    job.run_for(2.0)
    watched(job, lambda s, t, m: "hold" if isinstance(m, HandOver) and s == S2 else None)
    operator.asks(servers=2)
    job.run_until(lambda: any(s == S2 for s, _, _ in job.network.held), 20.0)
    job.members[S2].kill()
    watched(job, lambda s, t, m: None)
    job.run_until(lambda: operator.status.opened == 3, 60.0)
    assert job.store.bases[3] == Base(continues=1)
    ended(job, operator)


def trace_19_server_lost_while_spans_move() -> None:
    """3 -> 2: S0 dies before term 2 is open; S2 is still a source of term 3, and has its spans."""
    job, operator = operated(3, steps=60, checkpoint_every=400, backup=True)
    job.run_for(2.0)
    watched(job, lambda s, t, m: "hold" if isinstance(m, HandOver) and s == S2 else None)
    operator.asks(servers=2)
    job.run_until(lambda: any(s == S2 for s, _, _ in job.network.held), 20.0)
    job.members[S0].kill()
    watched(job, lambda s, t, m: None)
    job.run_until(lambda: operator.status.opened == 3, 60.0)
    assert job.store.bases[3] == Base(continues=1)
    assert operator.status.term.sources
    ended(job, operator)


def trace_8_removed_server_offers_nothing() -> None:
    """3 -> 2 with S2 left running: it has dropped what it held; when S1 dies nobody finds term 1's holdings there."""
    job = stage(servers=3, steps=60, checkpoint_every=8)
    chief = opened(job, S0, S1, S2)
    job.run_until(lambda: done(chief) >= 6)
    job.raise_term(S0, S1, sources=(S2,))
    job.run_until(lambda: chief_of(job, 2) is not None)
    assert not server(job, S2).machine.spans
    job.run_for(1.0)
    job.members[S1].kill()
    started(job, again(S1))
    job.raise_term(S0, again(S1), sources=(S2,))
    job.run_until(lambda: chief_of(job, 3) is not None)
    chief3 = chief_of(job, 3)
    assert chief3 is not None and chief3.opened is not None and chief3.opened.restored is not None
    finish(job)


def trace_15_handed_over_again() -> None:
    """The first hand-over of each span is lost: asked for again until it is there."""
    job = stage(servers=3, steps=40, checkpoint_every=400)
    chief = opened(job, S0, S1)
    job.run_until(lambda: done(chief) >= 4)
    lost: set[int] = set()

    def lose(sender: Member, to: Member, message: Message) -> Verdict | None:
        if isinstance(message, HandOver) and message.span not in lost:
            lost.add(message.span)
            return "drop"
        return None

    watched(job, lose)
    opened(job, S0, S1, S2)
    assert lost and job.store.bases[2] == Base(continues=1)
    finish(job)


TRACES = [
    trace_8_removed_server_offers_nothing,
    trace_15_up_and_down,
    trace_15_removed_when_opened,
    trace_15_handed_over_again,
    trace_19_source_lost,
    trace_19_source_lost_with_a_backup,
    trace_19_server_lost_while_spans_move,
]
