"""A small job without an operator, its network and store fast and even: a stage for a trace, driven by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.chief import Chief
from deepseek_runtime.protocol.lineage import Step
from deepseek_runtime.protocol.messages import Lease, Message
from simulator.job import Job, Shape
from simulator.network import Verdict
from simulator.servers import ServerProcess
from simulator.tally import book_of
from simulator.workers import WorkerProcess

S0, S1, S2 = (Member("server", index, 0) for index in range(3))
W0, W1 = Member("worker", 0, 0), Member("worker", 1, 0)


def again(member: Member) -> Member:
    """The next incarnation."""
    return Member(member.role, member.index, member.incarnation + 1)


def stage(seed: int = 1, trace: bool = False, **shape: Any) -> Job:
    """Members run; no term yet."""
    even = {"latency": (0.01, 0.01), "storing": (0.01, 0.01), "range_seconds": (0.1, 0.1)}
    job = Job(Shape(**{**even, **shape}), seed, trace)
    job.start_all()
    job.run_for(0.2)
    return job


def opened(job: Job, *servers: Member, restore: bool = False, within: float = 30.0) -> Chief:
    """Raises the next term with these servers and waits until it is open."""
    job.raise_term(*(servers or (S0, S1, S2)[: job.shape.servers]), restore=restore)
    term = job.etcd.term
    assert term is not None
    job.run_until(lambda: chief_of(job, term.number) is not None, within)
    chief = chief_of(job, term.number)
    assert chief is not None
    return chief


def chief_of(job: Job, term: int) -> Chief | None:
    """The chief of this term, once it is open."""
    for server in job.servers():
        if server.chief is not None and server.chief.number == term and server.chief.opened is not None:
            return server.chief
    return None


def started(job: Job, member: Member) -> Any:
    """A replacement, registered."""
    process = job.start(member)
    job.run_for(0.2)
    return process


def server(job: Job, member: Member) -> ServerProcess:
    process = job.members[member]
    assert isinstance(process, ServerProcess)
    return process


def worker(job: Job, member: Member) -> WorkerProcess:
    process = job.members[member]
    assert isinstance(process, WorkerProcess)
    return process


def leased(job: Job, member: Member) -> Lease:
    """What this worker holds."""
    lease = worker(job, member).machine.lease
    assert lease is not None
    return lease


def watched(job: Job, verdict: Callable[[Member, Member, Message], Verdict | None]) -> None:
    """`verdict` decides on each message; None: it passes."""
    job.network.judge = lambda sender, to, message: verdict(sender, to, message) or "pass"


def done(chief: Chief) -> int:
    assert chief.ledger is not None
    return len(chief.ledger.done)


def phase(chief: Chief) -> str:
    return chief.ending.phase if chief.ending is not None else ""


def finish(job: Job, within: float = 120.0) -> Step:
    """Runs the job to its end and checks it; returns its last checkpoint."""
    job.run_until(lambda: job.etcd.state is not None and job.etcd.state.finished is not None, within)
    state = job.etcd.state
    assert state is not None and state.finished is not None
    job.run_for(1.0)
    job.oracle.finished(state)
    return Step(state.finished.term, state.finished.step)


def owed(job: Job, name: Step) -> float:
    """Sum of |e| of all workers and of all times that checkpoint `name` misses."""
    total = 0.0
    for ref in job.store.indexes[name].parts.values():
        book = book_of(job.store.parts[ref.path].data)
        assert book is not None
        total += float(np.abs(book.lost).sum()) + sum(float(np.abs(e).sum()) for e in book.owed.values())
    return total
