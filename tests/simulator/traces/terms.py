"""Traces 6, 8, 9 and 17: terms, branches, where a term begins."""

import numpy as np

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.lineage import Base, Step
from deepseek_runtime.protocol.messages import InitialPart, Message, Push
from deepseek_runtime.protocol.server_orders import Drop, Order
from simulator.network import Verdict
from simulator.tally import codec
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
    server,
    stage,
    started,
    watched,
    worker,
)


def trace_6_missed_a_roll_back() -> None:
    """Term 2 rolls back, term 3 continues it; W1 learns of term 3 only: it throws all away, and claims nothing."""
    job = stage(method="sparse", steps=40, checkpoint_every=8)
    chief = opened(job)
    job.run_until(lambda: done(chief) >= 6)
    watched(job, lambda s, t, m: "hold" if s == W1 and isinstance(m, Push) and t == S1 else None)
    job.run_until(lambda: worker(job, W1).machine.pending is not None)
    job.run_for(0.05)  # half-answered: S0 has it
    watched(job, lambda s, t, m: "hold" if W1 in (s, t) else None)
    job.cut_from_etcd(W1, True)
    opened(job, restore=True)
    job.run_for(1.0)
    opened(job)
    assert {span.branch for span in server(job, S0).machine.spans.values()} == {2}
    watched(job, lambda s, t, m: None)
    job.network.release()
    job.cut_from_etcd(W1, False)
    finish(job)


def trace_6_older_branch_refused() -> None:
    """A push of an older branch under the present term changes nothing and is not answered."""
    job = stage(steps=24, checkpoint_every=8)
    opened(job)
    job.run_for(1.0)
    opened(job, restore=True)
    machine = server(job, S0).machine
    before = machine.spans[0].theta.copy()
    payload = codec("none", 0).encode_dense(np.ones_like(before))
    late = Push(2, 1, 99, None, 1.0, 0, {0: payload}, {0: 0.0}, {0: 0.0})
    answers = machine.on_message(W1, late, job.clock.now)
    assert not answers and np.array_equal(machine.spans[0].theta, before)
    finish(job)


def trace_8_half_rolled_back() -> None:
    """Term 2 rolls back; S0 has dropped its older holdings, S1 not yet, when term 3 comes: two branches, so restore."""
    job = stage(steps=40, checkpoint_every=8)
    chief = opened(job)
    job.run_until(lambda: done(chief) >= 6)
    watched(job, lambda s, t, m: "drop" if isinstance(m, Order) and isinstance(m.body, Drop) and t == S1 else None)
    job.raise_term(S0, S1, restore=True)
    job.run_until(lambda: all(span.branch == 2 for span in server(job, S0).machine.spans.values()))
    assert all(span.branch == 1 for span in server(job, S1).machine.spans.values())
    watched(job, lambda s, t, m: None)
    chief = opened(job)
    assert chief.opened is not None and chief.opened.restored is not None
    finish(job)


def trace_8_only_named_servers_are_asked() -> None:
    """S0 is cut off and replaced; it still holds all its spans, but nobody asks it."""
    job = stage(steps=40, checkpoint_every=8)
    chief = opened(job)
    job.run_until(lambda: done(chief) >= 6)
    job.cut_from_etcd(S0, True)
    started(job, again(S0))
    chief = opened(job, again(S0), S1)
    assert chief.opened is not None and chief.opened.branch == 2
    finish(job)


def trace_8_continued_twice() -> None:
    """Term 3 continues term 2, which continued term 1: its base names term 2, whose checkpoints are its own."""
    job = stage(steps=240, checkpoint_every=8, keep=1)
    chief = opened(job)
    job.run_until(lambda: done(chief) >= 6)
    chief = opened(job)
    saving = chief.saving
    assert saving is not None
    job.run_until(lambda: saving.last is not None and saving.last[0] == 2)
    assert saving.last is not None
    newest = saving.last
    chief = opened(job)
    assert job.store.bases[3] == Base(continues=2)
    job.members[S1].kill()
    started(job, again(S1))
    chief = opened(job, S0, again(S1))
    assert chief.opened is not None and chief.opened.restored is not None
    assert chief.opened.restored >= newest, f"term 4 went back to {chief.opened.restored}, {newest} was there"
    finish(job)


def trace_9_late_index_of_a_zombie() -> None:
    """Term 2 rolls back to (1, 8); the old S0 stores (1, 16) late; S1 dies: term 3 begins from (1, 8)."""
    job = stage(steps=60, checkpoint_every=8, keep=3)
    chief = opened(job)
    job.run_until(lambda: Step(1, 8) in job.store.indexes)
    job.points["WriteIndex"] = [(1, job.members[S0].pause)]
    job.run_until(lambda: job.members[S0].paused)
    new0, new1 = again(S0), again(S1)
    started(job, new0)
    started(job, new1)
    job.members[S1].kill()
    chief = opened(job, new0, new1)
    assert chief.opened is not None and chief.opened.restored == (1, 8)
    job.cut_from_etcd(S0, True)
    for other in (new0, new1, W0, W1):
        job.cut(S0, other)
    job.members[S0].wake()
    job.run_until(lambda: Step(1, 16) in job.store.indexes, 5.0)
    assert not any(name.term == 2 for name in job.store.indexes)
    job.members[new1].kill()
    started(job, again(new1))
    chief = opened(job, new0, again(new1))
    assert chief.opened is not None and chief.opened.restored == (1, 8)
    finish(job)


def trace_9_never_a_lower_term() -> None:
    """S1 is cut off from etcd and learns of term 2 from the chief: what its watch last saw does not take it back."""
    job = stage(steps=24)
    opened(job)
    job.cut_from_etcd(S1, True)
    opened(job)
    job.run_for(2.0)
    assert server(job, S1).machine.number == 2
    job.cut_from_etcd(S1, False)
    finish(job)


def trace_9_decides_after_reading_its_term() -> None:
    """The chief of term 2 is cut off from etcd before it decides: it chooses nothing."""
    job = stage(servers=1, steps=24)
    opened(job)
    new = again(S0)
    started(job, new)
    job.members[S0].kill()
    job.points["Holdings"] = []
    job.raise_term(new)
    job.run_until(lambda: server(job, new).chief is not None)
    job.cut_from_etcd(new, True)
    job.run_for(8.0)
    assert 2 not in job.store.bases
    job.cut_from_etcd(new, False)
    finish(job)


def trace_17_no_base_yet() -> None:
    """S0 dies before the first base is stored: term 2 has no base, so it initialises."""
    job = stage(servers=1, steps=16, storing=(0.2, 0.2))
    job.points["WriteIndex"] = [(1, job.members[S0].kill)]
    job.raise_term(S0)
    job.run_until(lambda: not job.members[S0].alive)
    job.run_for(1.0)
    assert not job.store.bases
    started(job, again(S0))
    opened(job, again(S0))
    assert job.store.bases[2] == Base(restored=Step(2, 0))
    finish(job)


def trace_17_index_before_base() -> None:
    """When the base names (1, 0), its index is there."""
    job = stage(servers=1, steps=16, storing=(0.2, 0.2))
    job.raise_term(S0)
    job.run_until(lambda: bool(job.store.bases))
    job.members[S0].kill()
    job.run_for(1.0)
    assert Step(1, 0) in job.store.indexes
    started(job, again(S0))
    opened(job, again(S0))
    finish(job)


def trace_17_two_initialisers() -> None:
    """W0 dies half-way, W1 is named; what W0 had sent to S1 arrives late: the checkpoint is W1's alone."""
    job = stage(steps=16)
    job.initial = {0: 1.0, 1: 2.0}

    def hold(sender: Member, to: Member, message: Message) -> Verdict | None:
        return "hold" if isinstance(message, InitialPart) and to == S1 else None

    watched(job, hold)
    job.raise_term(S0, S1)
    job.run_until(lambda: any(s == W0 for s, _, _ in job.network.held))
    job.run_for(0.1)
    job.members[W0].kill()
    job.run_until(lambda: any(s == W1 for s, _, _ in job.network.held), 20.0)
    job.network.release(lambda s, t, m: s == W0)
    job.run_for(0.2)
    watched(job, lambda s, t, m: None)
    job.network.release()
    job.run_until(lambda: chief_of(job, 1) is not None)
    job.run_for(0.5)


def trace_17_initialiser_lost_at_the_index() -> None:
    """W0 is lost while the index of its weights is being stored: nobody else is named, nothing is written over."""
    job = stage(steps=16)
    job.initial = {0: 1.0, 1: 2.0}
    job.raise_term(S0, S1)
    job.run_until(lambda: len(job.store.parts) == 3)
    job.store.duration = (8.0, 8.0)
    job.members[W0].kill()
    job.run_for(7.0)
    job.store.duration = (0.01, 0.01)
    job.run_until(lambda: chief_of(job, 1) is not None, 40.0)
    for name, index in job.store.indexes.items():
        job.oracle.check_checkpoint(name, index)


TRACES = [
    trace_6_missed_a_roll_back,
    trace_6_older_branch_refused,
    trace_8_half_rolled_back,
    trace_8_only_named_servers_are_asked,
    trace_8_continued_twice,
    trace_9_late_index_of_a_zombie,
    trace_9_never_a_lower_term,
    trace_9_decides_after_reading_its_term,
    trace_17_no_base_yet,
    trace_17_index_before_base,
    trace_17_two_initialisers,
    trace_17_initialiser_lost_at_the_index,
]
