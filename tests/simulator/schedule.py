"""One seed: a job of random shape, random faults, run to its end, and checked."""

import traceback
from dataclasses import dataclass, field

from deepseek_runtime.protocol.pieces import PIECE
from simulator.clock import Violation
from simulator.faults import Faults
from simulator.job import Job, Shape
from simulator.operating import Operator

LIMIT = 250.0
"""Virtual seconds after the last fault within which the job must have finished."""


@dataclass(slots=True)
class Outcome:
    seed: int
    violation: str = ""
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """Virtual: of the whole job."""
    after: float = 0.0
    """Virtual: from the end of the last fault to the end of the job."""
    events: int = 0
    log: list[str] = field(default_factory=list)


def shape_of(seed: int) -> Shape:
    """Drawn apart from the run, so that a shape can be read without it."""
    import random

    draw = random.Random(seed * 7919 + 13)
    return Shape(
        servers=draw.choice((1, 2, 2, 2, 3)),
        workers=draw.choice((1, 2, 2, 3)),
        method=draw.choices(("none", "sparse", "topk"), (45, 47, 8))[0],
        bound=draw.choice((None, 1, 2, 4, 4)),
        batch_size=2,
        local_steps=draw.choice((1, 2, 2, 4)),
        steps=draw.choice((24, 40, 60)),
        checkpoint_every=draw.choice((6, 8, 16)),
        evaluate_every=draw.choice((0, 0, 10)),
        keep=draw.choice((1, 2, 3)),
        encoded=draw.random() < 0.06,
        latency=draw.choice(((0.002, 0.02), (0.002, 0.1), (0.01, 0.6))),
        storing=draw.choice(((0.005, 0.1), (0.02, 0.6))),
        backup=draw.random() < 0.6,
        piece=draw.choice((1, 16, PIECE)),
    )


def run(seed: int, trace: bool = False, faults: int | None = None) -> Outcome:
    """Plays the schedule of `seed`; what went wrong stands in `violation`."""
    shape = shape_of(seed)
    job = Job(shape, seed, trace)
    outcome = Outcome(seed)
    try:
        _play(job, shape, outcome, faults)
    except Violation as violation:
        outcome.violation = str(violation)
    except Exception as error:  # noqa: BLE001  a crash of the code under test is a finding like any other
        where = traceback.extract_tb(error.__traceback__)[-1]
        outcome.violation = f"{type(error).__name__}: {error} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})"
        if trace:
            outcome.violation += "\n" + traceback.format_exc()
    outcome.seconds = job.clock.now
    outcome.events = job.clock.events
    outcome.log = job.clock.lines or []
    return outcome


def _play(job: Job, shape: Shape, outcome: Outcome, count: int | None) -> None:
    operator = Operator(job, shape.servers, shape.workers)
    faults = Faults(job, operator, outcome.faults)
    draw = job.clock.random
    faults.plan(draw.randint(4, 10) if count is None else count, draw.choice((8.0, 20.0, 40.0)))
    while not operator.status.finished:
        if job.clock.run(max(faults.until, job.clock.now) + LIMIT, lambda: bool(operator.status.finished)):
            break
        if job.clock.now >= faults.until + LIMIT:
            raise Violation(f"the job has not finished {LIMIT:g} s after the last fault: {_where(job)}")
    outcome.after = job.clock.now - faults.until
    state = job.etcd.state or operator.last_state
    if operator.status.exit_code != 0 or state is None or state.finished is None:
        raise Violation(f"the job failed: {operator.status.message}")
    job.oracle.finished(state)
    if not job.clock.run(job.clock.now + 60.0, lambda: operator.ended):
        raise Violation(f"members are left: {[str(m) for m, p in job.members.items() if p.alive]}")


def _where(job: Job) -> str:
    chief = job.chief()
    if chief is None or chief.chief is None:
        return f"no chief; term {job.etcd.term}"
    machine = chief.chief
    if machine.ledger is None:
        return f"term {machine.number} is {machine.opening.phase}, sees {[str(w) for w in machine.workers.seen]}"
    end = machine.ending.phase if machine.ending is not None else "training"
    leases = [(str(o.worker), o.lease.g, o.ended) for o in machine.ledger.leases.values()]
    return f"term {machine.number} is {end} at step {machine.ledger.steps_done}, leases {leases}"
