"""Traces 1, 4, 5, 7, 14, 15 and 16: pushes, answers, leases."""

from dataclasses import replace

import numpy as np

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.messages import Answers, Beat, Grant, Hello, Message, Push
from deepseek_runtime.protocol.server_orders import AppliedReport, EndLease, Order, Skip
from simulator.network import Verdict
from simulator.tally import difference
from simulator.traces.stage import S0, S1, W0, W1, done, finish, leased, opened, owed, server, stage, watched, worker


def trace_1_answer_lost() -> None:
    """W0's push is applied, the answer lost, the push sent again: the same answer, not `duplicate`."""
    job = stage(method="sparse", workers=1, steps=16)
    lost: list[int] = []

    def drop(sender: Member, to: Member, message: Message) -> Verdict | None:
        if isinstance(message, Answers) and sender == S0 and message.sequence not in lost:
            lost.append(message.sequence)
            return "drop"
        return None

    watched(job, drop)
    opened(job)
    assert owed(job, finish(job)) == 0
    assert len(lost) >= 8


def trace_1_residual_once() -> None:
    """The answer to a drained residual is lost, and it is pushed again: it enters once."""
    job = stage(method="sparse", workers=1, steps=8)
    lost: list[int] = []

    def drop(sender: Member, to: Member, message: Message) -> Verdict | None:
        pending = worker(job, W0).machine.pending
        if isinstance(message, Answers) and pending is not None and pending.lease is None and len(lost) < 2:
            lost.append(message.sequence)
            return "drop"
        return None

    watched(job, drop)
    opened(job)
    assert owed(job, finish(job)) == 0
    assert lost


def trace_4_lease_ended() -> None:
    """W0 leases r0 and is cut off; the lease ends; r0 goes to W1; W0's push comes before W1's: stale."""
    job = stage(bound=1, steps=24)
    chief = opened(job)
    job.run_until(lambda: worker(job, W0).machine.busy and worker(job, W1).machine.busy)
    lease = leased(job, W0)
    assert chief.ledger is not None
    worker(job, W0).hold_training = True
    for at in (S0, S1):
        job.cut(W0, at)
    ledger = chief.ledger
    job.run_until(lambda: any(o.lease.g == lease.g and o.worker == W1 for o in ledger.leases.values()), 20.0)
    worker(job, W1).hold_training = True
    for at in (S0, S1):
        job.heal(W0, at)
    # It was counted as lost, so the chief no longer knows it; its push comes first all the same.
    watched(job, lambda s, t, m: "hold" if isinstance(m, Hello | Beat) and s == W0 else None)
    worker(job, W0).hold_training = False
    job.run_until(lambda: worker(job, W0).machine.pending is None and not worker(job, W0).machine.busy)
    assert not any(span.has(lease.g) for at in (S0, S1) for span in server(job, at).machine.spans.values())
    watched(job, lambda s, t, m: None)
    job.network.release()
    worker(job, W1).hold_training = False
    finish(job)


def trace_4_one_server_does_not_know() -> None:
    """The ended lease stays outstanding while S1 has not confirmed its end."""
    job = stage(bound=2, steps=24)
    chief = opened(job)
    job.run_until(lambda: worker(job, W0).machine.busy)
    lease = leased(job, W0)
    assert chief.ledger is not None
    worker(job, W0).hold_training = True
    job.cut(W0, S0)
    watched(job, lambda s, t, m: "drop" if isinstance(m, Order) and isinstance(m.body, EndLease) and t == S1 else None)
    ledger = chief.ledger
    job.run_for(12.0)
    assert any(o.lease == lease and o.ended for o in ledger.leases.values()), "it must stay outstanding"
    assert ledger.plan.count > done(chief)
    worker(job, W0).hold_training = False
    job.run_for(3.0)  # S1 does not know, and applies it; S0 never sees it
    watched(job, lambda s, t, m: None)
    job.heal(W0, S0)
    finish(job)


def trace_4_stale_is_remembered() -> None:
    """S0 has answered `stale`, the answer is lost; in the next term W0 claims the range, and S0 repeats its answer:
    W0 gives the range up, and says so."""
    job = stage(steps=24)
    chief = opened(job)
    worker(job, W1).hold_training = True
    watched(job, lambda s, t, m: "hold" if s == W0 and isinstance(m, Push) else None)
    job.run_until(lambda: bool(job.network.held))
    watched(job, lambda s, t, m: "hold" if s == W0 else "drop" if t == W0 and isinstance(m, Answers) else None)
    job.run_until(lambda: W0 not in chief.workers.seen, 20.0)
    job.run_for(0.5)
    job.network.release(lambda s, t, m: t == S0 and isinstance(m, Push))
    job.run_for(0.5)
    assert "stale" in {span.answers[0].answer for span in server(job, S0).machine.spans.values()}
    job.network.held.clear()
    watched(job, lambda s, t, m: None)
    opened(job)
    worker(job, W1).hold_training = False
    finish(job)


def trace_4_lease_of_an_older_term() -> None:
    """W0 is cut off with r and its push; the term changes, W1 gets r; then W0's push comes under its old lease."""
    job = stage(steps=24)
    chief = opened(job)
    watched(job, lambda s, t, m: "hold" if s == W0 and isinstance(m, Push) else None)
    job.run_until(lambda: bool(job.network.held))
    lease = leased(job, W0)
    watched(job, lambda s, t, m: "hold" if s == W0 else None)
    job.run_until(lambda: W0 not in chief.workers.seen, 20.0)
    worker(job, W1).hold_training = True
    chief = opened(job)
    assert chief.ledger is not None
    ledger = chief.ledger
    job.run_until(lambda: any(o.lease.g == lease.g for o in ledger.leases.values()) or lease.g in ledger.done, 30.0)
    watched(job, lambda s, t, m: None)
    job.network.held.clear()
    job.run_until(lambda: worker(job, W0).machine.pending is None, 30.0)
    assert [o.worker for o in ledger.leases.values() if o.lease.g == lease.g] == [W1]
    assert not any(span.has(lease.g) for span in server(job, S0).machine.spans.values())
    worker(job, W1).hold_training = False
    finish(job)


def trace_4_no_push_between_terms() -> None:
    """W0 is trained while its new chief has not welcomed it: it does not push under the old lease."""
    job = stage(steps=24)
    opened(job)
    job.run_until(lambda: worker(job, W0).machine.busy)
    worker(job, W0).hold_training = True
    watched(job, lambda s, t, m: "hold" if s == W0 and isinstance(m, Hello) else None)
    opened(job)
    worker(job, W0).hold_training = False
    job.run_until(lambda: worker(job, W0).machine.pending is not None)
    job.run_for(0.5)
    said = {span.answers[0].answer for span in server(job, S0).machine.spans.values() if 0 in span.answers}
    assert "stale" not in said, "what it had trained was in vain"
    watched(job, lambda s, t, m: None)
    job.network.release()
    finish(job)


def trace_5_skip_of_what_is_in_flight() -> None:
    """W0's push of r is in flight, W0 counts as lost, W1 finds r non-finite: skipped; then W0's push comes."""
    job = stage(steps=24)
    chief = opened(job)
    assert chief.ledger is not None
    watched(job, lambda s, t, m: "hold" if s == W0 and isinstance(m, Push) else None)
    job.run_until(lambda: worker(job, W0).machine.pending is not None)
    lease = leased(job, W0)
    job.bad_ranges[lease.g] = 10**6
    job.ever_bad.add(lease.g)
    watched(job, lambda s, t, m: "hold" if s == W0 else None)
    ledger = chief.ledger
    job.run_until(lambda: lease.g in ledger.skipped, 20.0)
    watched(job, lambda s, t, m: "drop" if s == W0 and t == S1 and isinstance(m, Push) else None)
    job.network.release(lambda s, t, m: t == S0 and isinstance(m, Push))
    job.run_for(1.0)
    watched(job, lambda s, t, m: None)
    job.network.held.clear()
    finish(job)


def trace_5_applied_is_not_skipped() -> None:
    """S0 has r, S1 never got it; W1 finds r non-finite: it is computed again, at last with d = 0; never skipped."""
    job = stage(steps=16)
    opened(job)
    watched(job, lambda s, t, m: "drop" if s == W0 and t == S1 and isinstance(m, Push) else None)
    job.run_until(lambda: worker(job, W0).machine.pending is not None)
    lease = leased(job, W0)
    job.run_for(0.1)
    assert all(span.has(lease.g) for span in server(job, S0).machine.spans.values())
    job.bad_ranges[lease.g] = 10**6
    job.ever_bad.add(lease.g)
    job.members[W0].kill()
    finish(job)
    assert not any(span.skipped for at in (S0, S1) for span in server(job, at).machine.spans.values())


def trace_5_skip_completed() -> None:
    """The skip reached S0 only when the next term began: its chief completes it, and gives r to nobody."""
    job = stage(steps=24, workers=2)
    g = 3
    job.bad_ranges[g] = 1
    job.ever_bad.add(g)
    opened(job)
    watched(job, lambda s, t, m: "drop" if isinstance(m, Order) and isinstance(m.body, Skip) and t == S1 else None)
    job.run_until(lambda: any(span.skipped for span in server(job, S0).machine.spans.values()))
    watched(job, lambda s, t, m: None)
    opened(job)
    finish(job)
    assert all(span.skipped == {g} for at in (S0, S1) for span in server(job, at).machine.spans.values())


def trace_5_skip_overtaken() -> None:
    """W0 says that r cannot be trained, and is lost while S1 lacks the skip: r is given to nobody meanwhile."""
    job = stage(steps=24)
    g = 2
    job.bad_ranges[g] = 1
    job.ever_bad.add(g)
    chief = opened(job)
    assert chief.ledger is not None
    ledger = chief.ledger
    watched(job, lambda s, t, m: "drop" if isinstance(m, Order) and isinstance(m.body, Skip) and t == S1 else None)
    job.run_until(lambda: any(span.skipped for span in server(job, S0).machine.spans.values()))
    holder = next(o.worker for o in ledger.leases.values() if o.lease.g == g)
    job.members[holder].kill()
    job.run_for(12.0)
    assert not any(o.lease.g == g and not o.ended for o in ledger.leases.values())
    watched(job, lambda s, t, m: None)
    finish(job)
    assert ledger.samples_skipped == ledger.plan.samples_of(g)


def trace_7_one_weight_a_push() -> None:
    """Half of W0's push is in at 1/2; W1 is gone and the term changes: the other half enters at 1/2 too."""
    job = stage(share=True, steps=24)
    chief = opened(job)
    watched(job, lambda s, t, m: "drop" if s == W0 and t == S1 and isinstance(m, Push) else None)
    job.run_until(lambda: done(chief) > 0)
    job.run_until(lambda: worker(job, W0).machine.pending is not None)
    pending = worker(job, W0).machine.pending
    assert pending is not None and pending.w == 0.5
    job.members[W1].kill()
    job.run_until(lambda: W1 not in chief.workers.seen, 20.0)
    opened(job)
    watched(job, lambda s, t, m: None)
    finish(job)


def trace_14_published_before_pull() -> None:
    """`sync`: r0 is done before W1 leases, so what W1 pulls has it."""
    job = stage(bound=1, servers=1, workers=1, steps=24)
    chief = opened(job)
    job.run_until(lambda: done(chief) == 1)
    worker(job, W0).hold_training = True
    other = job.start(W1)
    job.run_until(lambda: worker(job, W1).machine.busy, 20.0)
    assert np.array_equal(worker(job, W1).machine.x, -difference(job.plan, 0)), "what was done is missing in the copy"
    assert other.alive
    worker(job, W0).hold_training = False
    finish(job)


def trace_14_stamp_outlives_the_term() -> None:
    """`bounded` 2: W0 holds r0; two others are done, so the gate is shut; the next term keeps it shut."""
    job = stage(bound=2, steps=40)
    chief = opened(job)
    job.run_until(lambda: worker(job, W0).machine.busy)
    lease = leased(job, W0)
    worker(job, W0).hold_training = True
    job.run_for(3.0)
    before = done(chief)
    assert chief.ledger is not None and not chief.ledger.may_start_new()
    chief = opened(job)
    job.run_for(4.0)
    assert done(chief) == before, "the gate opened with the term"
    held = worker(job, W0).machine.lease
    assert held is not None and held.stamp == lease.stamp
    worker(job, W0).hold_training = False
    finish(job)


def trace_15_waiting_request_kept() -> None:
    """The word that W0 wants a range is lost; so is the first grant: it gets one all the same."""
    job = stage(workers=1, steps=8)
    lost: list[Message] = []

    def drop(sender: Member, to: Member, message: Message) -> Verdict | None:
        first = isinstance(message, Grant) and not any(isinstance(m, Grant) for m in lost)
        if first or (isinstance(message, Beat) and message.wants and len(lost) < 2):
            lost.append(message)
            return "drop"
        return None

    watched(job, drop)
    opened(job)
    finish(job)
    assert len(lost) >= 3


def trace_15_welcomed_twice() -> None:
    """W0 is paused after its hello, counted as lost, and welcomed again under a newer lease: it goes on under that."""
    job = stage(workers=1, steps=16)
    opened(job)
    job.run_until(lambda: worker(job, W0).machine.lease is not None)
    job.store.duration = (1.0, 1.0)  # so that its next hello is due before the first welcome
    job.raise_term(S0, S1)
    job.run_until(lambda: worker(job, W0).machine.record is job.etcd.term)
    job.run_for(0.02)
    job.members[W0].pause()
    job.run_for(12.0)
    job.store.duration = (0.01, 0.01)
    job.members[W0].wake()
    finish(job)


def trace_16_done_when_all_spans_have_it() -> None:
    """r is on S0's spans and not on S1's: not done."""
    job = stage(bound=1, steps=24)
    chief = opened(job)
    watched(job, lambda s, t, m: "drop" if isinstance(m, Push) and t == S1 else None)
    job.run_for(6.0)
    assert done(chief) == 0
    watched(job, lambda s, t, m: None)
    finish(job)


def trace_16_report_lost() -> None:
    """S1's first reports are lost: told again until the chief has them."""
    job = stage(steps=16)
    lost: list[int] = []

    def drop(sender: Member, to: Member, message: Message) -> Verdict | None:
        if isinstance(message, AppliedReport) and message.number not in lost and len(lost) < 3:
            lost.append(message.number)
            return "drop"
        return None

    watched(job, drop)
    opened(job)
    finish(job)
    assert len(lost) == 3


def trace_16_one_span_of_a_server() -> None:
    """S0 applies r on one of its two spans, the other part is lost: not done, and the rest comes later."""
    job = stage(servers=1, workers=1, steps=16)
    chief = opened(job)
    cut: list[int] = []

    def halve(sender: Member, to: Member, message: Message) -> Verdict | None:
        if isinstance(message, Push) and len(message.parts) == 4:
            cut.append(message.sequence)
            part = replace(message, parts={0: message.parts[0]})
            job.network._pass(sender, to, part)
            return "drop"
        return None

    watched(job, halve)
    job.run_until(lambda: bool(cut))
    job.run_for(0.3)
    assert done(chief) == 0
    finish(job)


TRACES = [
    trace_1_answer_lost,
    trace_1_residual_once,
    trace_4_lease_ended,
    trace_4_one_server_does_not_know,
    trace_4_stale_is_remembered,
    trace_4_lease_of_an_older_term,
    trace_4_no_push_between_terms,
    trace_5_skip_of_what_is_in_flight,
    trace_5_applied_is_not_skipped,
    trace_5_skip_completed,
    trace_5_skip_overtaken,
    trace_7_one_weight_a_push,
    trace_14_published_before_pull,
    trace_14_stamp_outlives_the_term,
    trace_15_waiting_request_kept,
    trace_15_welcomed_twice,
    trace_16_done_when_all_spans_have_it,
    trace_16_report_lost,
    trace_16_one_span_of_a_server,
]
