"""Traces 10, 11 and the rest of 18: checkpoints, and what `keep` deletes."""

from collections import Counter

from deepseek_runtime.contract.config import Timing
from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.effects import WriteIndex
from deepseek_runtime.protocol.lineage import Step
from deepseek_runtime.protocol.messages import Message, Push
from deepseek_runtime.protocol.server_orders import Done
from simulator.network import Verdict
from simulator.traces.stage import S0, S1, W0, W1, again, done, finish, opened, server, stage, started, watched


def trace_10_nothing_deleted_while_etcd_is_silent() -> None:
    """keep 1; S0 is cut off from etcd alone; term 2 rolls back to (1, 8); S0 stores (1, 16), deletes nothing."""
    job = stage(servers=1, workers=2, steps=60, checkpoint_every=8, keep=1)
    opened(job)
    job.run_until(lambda: Step(1, 8) in job.store.indexes and Step(1, 0) not in job.store.indexes)
    job.cut_from_etcd(S0, True)
    job.cut_from_etcd(W0, True)
    job.cut_from_etcd(W1, True)
    new = again(S0)
    started(job, new)
    chief = opened(job, new)
    assert chief.opened is not None and chief.opened.restored == (1, 8)
    job.run_until(lambda: Step(1, 16) in job.store.indexes)
    job.run_for(5.0)
    assert Step(1, 8) in job.store.indexes, "the zombie deleted what term 2 stands on"
    job.members[new].kill()
    job.members[S0].kill()
    for worker in (W0, W1):
        job.cut_from_etcd(worker, False)
    started(job, again(new))
    chief = opened(job, again(new))
    assert chief.opened is not None and chief.opened.restored == (1, 8)
    finish(job)


def trace_11_reported_twice() -> None:
    """S1 reports each of its parts twice: one index for each step."""
    job = stage(steps=40, checkpoint_every=8, keep=1)
    indexes: Counter[int] = Counter()
    carry_out = server(job, S0).carry_out

    def counted(effects: object) -> None:
        listed = list(effects)  # type: ignore[call-overload]
        indexes.update(e.step for e in listed if isinstance(e, WriteIndex))
        carry_out(listed)

    server(job, S0).carry_out = counted  # type: ignore[method-assign]

    def twice(sender: Member, to: Member, message: Message) -> Verdict | None:
        if isinstance(message, Done) and message.files:
            job.network._pass(sender, to, message)
        return None

    watched(job, twice)
    opened(job)
    finish(job)
    assert set(indexes.values()) == {1}, indexes


def trace_11_asked_for_twice() -> None:
    """A checkpoint is asked for at a step that has one, while a push is half in: its parts are not written again."""
    job = stage(steps=40, checkpoint_every=8, keep=10, timing=Timing(moments=1.0))
    chief = opened(job)
    job.run_until(lambda: Step(1, 8) in job.store.indexes)
    watched(job, lambda s, t, m: "drop" if isinstance(m, Push) else None)
    job.run_for(1.0)
    assert chief.ledger is not None
    step = chief.ledger.steps_done
    chief.checkpoint()
    job.run_for(4.0)
    assert Step(1, step) in job.store.indexes
    watched(job, lambda s, t, m: "drop" if isinstance(m, Push) and t == S1 else None)
    job.run_for(6.0)
    assert chief.ledger.steps_done == step
    chief.checkpoint()
    job.run_for(4.0)
    for name, index in job.store.indexes.items():
        job.oracle.check_checkpoint(name, index)
    watched(job, lambda s, t, m: None)
    finish(job)


def trace_11_index_stored_but_not_said() -> None:
    """The last index is stored, the store's answer is lost: it is stored once, with the parts that it names."""
    job = stage(method="sparse", steps=24, checkpoint_every=100)
    chief = opened(job)
    job.run_until(lambda: chief.ending is not None and chief.ending.phase == "saving")
    job.store.trouble = "forgetful"
    job.run_for(12.0)
    job.store.trouble = ""
    finish(job)


def trace_11_drained_index_not_said() -> None:
    """Drained: the index is stored, the answer lost; W1's residual comes late. The parts stay those of the index."""
    job = stage(method="sparse", steps=80, checkpoint_every=100)
    chief = opened(job)
    job.run_until(lambda: done(chief) >= 4)
    watched(job, lambda s, t, m: "hold" if s == W1 and isinstance(m, Push) and m.lease is None else None)
    chief.drain()
    job.run_until(lambda: len(job.network.held) >= 2)
    job.members[W1].kill()
    job.run_until(lambda: chief.ending is not None and chief.ending.phase == "saving", 40.0)
    job.store.trouble = "forgetful"
    job.run_until(lambda: any(step > 0 for _, step in job.store.indexes))
    watched(job, lambda s, t, m: None)
    job.network.release()
    job.run_for(5.0)
    job.store.trouble = ""
    job.run_until(lambda: job.etcd.state is not None and job.etcd.state.drained == 1)
    for name, index in job.store.indexes.items():
        job.oracle.check_checkpoint(name, index)


TRACES = [
    trace_10_nothing_deleted_while_etcd_is_silent,
    trace_11_reported_twice,
    trace_11_asked_for_twice,
    trace_11_index_stored_but_not_said,
    trace_11_drained_index_not_said,
]
