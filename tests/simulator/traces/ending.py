"""Traces 12, 18 and 20, and those of the operator in 15: the job's end."""

from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import Request
from deepseek_runtime.protocol.messages import Ask, Hello, Message, Published, Push, Report
from simulator.job import Job, Shape
from simulator.network import Verdict
from simulator.operating import Operator
from simulator.traces.stage import (
    S0,
    S1,
    W0,
    W1,
    again,
    chief_of,
    done,
    finish,
    opened,
    owed,
    phase,
    server,
    stage,
    started,
    watched,
    worker,
)


def trace_12_workers_stay_until_it_is_recorded() -> None:
    """All ranges are done; S1 dies before `finished` stands in etcd: the workers are there to do them again."""
    job = stage(steps=24, checkpoint_every=8)
    chief = opened(job)
    watched(job, lambda s, t, m: "drop" if isinstance(m, Report) and m.kind == "evaluated" else None)
    job.run_until(lambda: phase(chief) == "evaluating")
    job.run_for(0.3)
    job.members[S1].kill()
    job.run_for(0.5)
    assert all(job.members[w].alive for w in (W0, W1))
    watched(job, lambda s, t, m: None)
    started(job, again(S1))
    opened(job, S0, again(S1))
    finish(job)


def trace_12_zombie_chief_sends_nobody_home() -> None:
    """Chief 1 has not heard of term 2 and ends the job: its `finished` is refused, and its workers stay."""
    job = stage(steps=16)
    chief = opened(job)
    watched(job, lambda s, t, m: "hold" if isinstance(m, Report) and m.kind == "evaluated" else None)
    job.run_until(lambda: bool(job.network.held))
    for member in (S0, S1, W0, W1):
        job.members[member].etcd._coming = True  # their watch lags
    started(job, again(S1))
    job.raise_term(S0, again(S1))
    watched(job, lambda s, t, m: None)
    job.network.release()
    job.run_for(4.0)
    assert phase(chief) == "recording"
    assert all(job.members[w].alive for w in (W0, W1)), "they were sent home by a chief of an older term"
    for member in (S0, S1, W0, W1):
        if job.members[member].alive:
            job.members[member].etcd._coming = False
            job.members[member].etcd.news()
    job.members[S1].kill()
    job.run_until(lambda: chief_of(job, 2) is not None)
    finish(job)


def trace_12_registered_but_not_heard() -> None:
    """The chief of term 2 knows only W0; W1 is registered and owes: the last checkpoint waits for it."""
    job = stage(method="sparse", steps=24)
    chief = opened(job)
    job.run_until(lambda: chief.ledger is not None and chief.ledger.complete)
    watched(job, lambda s, t, m: "hold" if s == W1 and isinstance(m, Hello) else None)
    chief = opened(job)
    job.run_until(lambda: phase(chief) == "flushing")
    job.run_for(4.0)
    watched(job, lambda s, t, m: None)
    job.network.release()
    assert owed(job, finish(job)) == 0


def trace_18_last_step_is_the_ends() -> None:
    """A regular checkpoint is due at the last step: only the End makes one there, with the flushed residuals."""
    job = stage(method="sparse", steps=24, checkpoint_every=8)
    opened(job)
    name = finish(job)
    assert name.step == 24 and owed(job, name) == 0


def trace_18_residual_after_the_close() -> None:
    """W0 counts as lost; its residual comes after the dense publish: what was evaluated is what is saved."""
    job = stage(method="sparse", steps=24)
    chief = opened(job)

    def hold(sender: Member, to: Member, message: Message) -> Verdict | None:
        return "hold" if isinstance(message, Push) and message.lease is None and sender == W0 else None

    watched(job, hold)
    job.run_until(lambda: bool(job.network.held))
    job.members[W0].kill()
    watched(job, lambda s, t, m: "hold" if isinstance(m, Published) else hold(s, t, m))
    job.run_until(lambda: phase(chief) == "evaluating", 90.0)
    job.network.release(lambda s, t, m: isinstance(m, Push))
    job.run_for(0.5)
    watched(job, lambda s, t, m: None)
    job.network.held.clear()
    finish(job)


def trace_18_evaluator_dies() -> None:
    """Whoever evaluates dies: another does."""
    job = stage(steps=16)
    chief = opened(job)
    job.run_until(lambda: phase(chief) == "evaluating")
    job.points["StartEvaluation"] = [(1, lambda: None)]
    job.run_until(lambda: any(worker(job, w).machine.ticket is not None for w in (W0, W1)))
    next(worker(job, w) for w in (W0, W1) if worker(job, w).machine.ticket is not None).kill()
    finish(job)
    assert chief.tracking.metrics


def trace_18_evaluator_counted_as_lost() -> None:
    """The evaluator is cut off while it pulls, is counted as lost, comes back: it takes work again."""
    job = stage(workers=1, steps=40, evaluate_every=8)
    opened(job)
    job.run_until(lambda: worker(job, W0).machine.ticket is not None and not worker(job, W0).machine.busy)
    for at in (S0, S1):
        job.cut(W0, at)
    job.run_for(8.0)
    for at in (S0, S1):
        job.heal(W0, at)
    finish(job)


def trace_20_finished_of_any_term() -> None:
    """S1 dies after the last index; the operator has decided on term 2, etcd has it not yet, and `finished` of term 1
    lands: the job is done."""
    job = Job(Shape(steps=16, latency=(0.01, 0.01), storing=(0.01, 0.01), range_seconds=(0.1, 0.1)), 1)
    operator = Operator(job, 2, 2)
    write = operator._write
    operator._write = lambda made: False if made.term is not None and made.term.number > 1 else write(made)  # type: ignore[method-assign]
    job.run_until(lambda: chief_of(job, 1) is not None)
    chief = chief_of(job, 1)
    assert chief is not None
    watched(job, lambda s, t, m: "hold" if isinstance(m, Report) and m.kind == "evaluated" else None)
    job.run_until(lambda: phase(chief) == "evaluating" and bool(job.network.held))
    job.members[S1].kill()
    job.run_until(lambda: operator.status.term.number == 2)
    watched(job, lambda s, t, m: None)
    operator.paused = True
    job.network.release()
    job.run_until(lambda: job.etcd.state is not None and job.etcd.state.finished is not None)
    job.run_for(3.0)
    operator._write = write  # type: ignore[method-assign]
    operator.paused = False
    job.run_until(lambda: operator.status.exit_code == 0, 20.0)
    assert job.etcd.term is not None and job.etcd.term.number == 1, "a term was written after the end"
    job.run_until(lambda: operator.ended, 60.0)


def trace_20_emptied_etcd_forgets_a_worker() -> None:
    """etcd is emptied, S0 dies, W1 is not yet registered anew nor heard of: it is asked all the same."""
    job = stage(method="sparse", steps=24, servers=1)
    chief = opened(job)
    job.run_until(lambda: chief.ledger is not None and chief.ledger.complete)
    watched(job, lambda s, t, m: "hold" if W1 in (s, t) else None)
    job.etcd.stop()
    term = job.etcd.term
    assert term is not None
    job.members[W1].etcd.cut = True
    job.run_for(2.5)
    job.etcd.start(emptied=True)
    job.etcd.raise_term(term)
    job.run_for(1.5)
    chief = opened(job, S0)
    job.run_for(3.0)
    job.cut_from_etcd(W1, False)
    job.run_for(2.0)
    watched(job, lambda s, t, m: None)
    job.network.release()
    assert owed(job, finish(job)) == 0
    assert chief.opened is not None


def trace_20_state_lost_after_the_end() -> None:
    """etcd is emptied once `finished` stood there, and refuses it at first: it is written until it stands."""
    job = stage(steps=16)
    chief = opened(job)
    job.run_until(lambda: job.etcd.state is not None and job.etcd.state.finished is not None)
    job.run_for(0.2)
    term = job.etcd.term
    assert term is not None and chief.ending is not None and chief.ending.recorded
    job.etcd.stop()
    job.run_for(0.5)
    job.etcd.start(emptied=True)
    job.run_for(4.0)  # the operator is slow: the term is not there, so the state is refused
    job.etcd.raise_term(term)
    job.run_until(lambda: job.etcd.state is not None and job.etcd.state.finished is not None, 20.0)


def trace_20_an_older_write_is_not_finished() -> None:
    """`opened` is still being written when the job ends: only the answer to `finished` sends workers home."""
    job = stage(steps=16)
    chief = opened(job)
    job.run_until(lambda: phase(chief) == "evaluating")
    etcd = server(job, S0).etcd
    job.etcd.latency = (3.0, 3.0)
    server(job, S0).carry_out(chief.on_state_lost())
    job.run_until(lambda: phase(chief) in ("recording", "leaving"))
    job.run_until(lambda: not worker(job, W0).alive, 30.0)
    assert job.etcd.state is not None and job.etcd.state.finished is not None
    assert etcd.reachable


def trace_15_roll_back_once() -> None:
    """A roll-back is asked for in term 1; dropping the request fails at first: the term is raised once."""
    job = Job(Shape(steps=600, latency=(0.01, 0.01), storing=(0.01, 0.01), range_seconds=(0.1, 0.1)), 1)
    operator = Operator(job, 2, 2)
    job.run_until(lambda: chief_of(job, 1) is not None)
    request = Request(kind="roll_back", term=1, reason="the loss is NaN")
    job.run_for(1.0)
    job.etcd.put_request("r", request)
    job.run_until(lambda: operator.status.term.number == 2)
    # A late copy of it, or one that could not be dropped.
    for _ in range(4):
        job.etcd.requests["r"] = request
        job.etcd.changed()
        job.run_for(1.5)
    assert operator.status.term.number == 2
    assert not job.etcd.requests
    job.run_until(lambda: operator.status.exit_code == 0, 200.0)


def trace_end_ask_repeated() -> None:
    """The first request for a residual and the first report of it are lost: asked and told again."""
    job = stage(method="sparse", steps=16)
    lost: list[object] = []

    def drop(sender: Member, to: Member, message: Message) -> Verdict | None:
        flush = isinstance(message, Ask | Report) and message.kind in ("flush", "flushed")
        if flush and (type(message), sender, to) not in lost:
            lost.append((type(message), sender, to))
            return "drop"
        return None

    watched(job, drop)
    chief = opened(job)
    assert owed(job, finish(job)) == 0
    assert len(lost) == 4 and done(chief) == job.plan.count


TRACES = [
    trace_12_workers_stay_until_it_is_recorded,
    trace_12_zombie_chief_sends_nobody_home,
    trace_12_registered_but_not_heard,
    trace_15_roll_back_once,
    trace_18_last_step_is_the_ends,
    trace_18_residual_after_the_close,
    trace_18_evaluator_dies,
    trace_18_evaluator_counted_as_lost,
    trace_20_finished_of_any_term,
    trace_20_emptied_etcd_forgets_a_worker,
    trace_20_state_lost_after_the_end,
    trace_20_an_older_write_is_not_finished,
    trace_end_ask_repeated,
]
