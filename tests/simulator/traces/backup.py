"""Traces 2, 3, 13 and the parts of 6 and 8 that need backups: spans at the neighbour."""

import numpy as np

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.lineage import Base
from deepseek_runtime.protocol.messages import Answers, Message, Push
from deepseek_runtime.protocol.neighbours import Confirmed, Forward
from deepseek_runtime.protocol.server_orders import Drop, Order, Skip
from simulator.job import Job
from simulator.network import Verdict
from simulator.traces.stage import (
    S0,
    S1,
    S2,
    W0,
    W1,
    again,
    done,
    finish,
    leased,
    opened,
    server,
    stage,
    started,
    watched,
    worker,
)


def replaced(job: Job, lost: Member, *others: Member) -> Member:
    """`lost` is killed, its replacement registers, and the next term opens with it at its place."""
    job.members[lost].kill()
    new = again(lost)
    started(job, new)
    opened(job, *sorted((*others, new)))
    return new


def trace_13_one_lost_server_costs_nothing() -> None:
    """Each server in turn is killed; the state goes on from its neighbour, nobody goes back, no push is lost."""
    job = stage(method="sparse", servers=3, steps=120, checkpoint_every=200, backup=True)
    chief = opened(job, S0, S1, S2)
    job.run_until(lambda: done(chief) >= 5)
    new1 = replaced(job, S1, S0, S2)
    assert job.store.bases[2] == Base(continues=1)
    job.run_for(3.0)
    new2 = replaced(job, S2, S0, new1)
    job.run_for(3.0)
    replaced(job, S0, new1, new2)
    assert job.store.bases[4] == Base(continues=3)
    finish(job)


def trace_13_said_before_confirmed() -> None:
    """S1 applies r, the forward is lost; W0 asks again and is told nothing. S1 dies: W0 pushes again."""
    job = stage(servers=3, workers=1, steps=24, backup=True)
    chief = opened(job, S0, S1, S2)
    job.run_until(lambda: done(chief) >= 2)
    told: list[Message] = []

    def cut(sender: Member, to: Member, message: Message) -> Verdict | None:
        if isinstance(message, Forward) and sender == S1:
            return "drop"
        if isinstance(message, Answers) and sender == S1:
            told.append(message)
        return None

    job.run_until(lambda: worker(job, W0).machine.busy)
    watched(job, cut)
    g = leased(job, W0).g
    job.run_until(lambda: all(span.has(g) for span in server(job, S1).machine.spans.values()))
    job.run_for(12.0)  # W0 has asked again, more than once
    assert not told, "told of a push that only one server has"
    assert not any(span.has(g) for span in server(job, S2).machine.backing.spans.values())
    watched(job, lambda s, t, m: None)
    replaced(job, S1, S0, S2)
    finish(job)


def trace_13_confirmed_in_order() -> None:
    """The forward of W0's push is lost, that of W1's comes: S1's neighbour confirms neither before it has both."""
    job = stage(servers=3, steps=24, backup=True)
    opened(job, S0, S1, S2)
    lost: list[Forward] = []
    confirmed: list[Confirmed] = []

    def lose(sender: Member, to: Member, message: Message) -> Verdict | None:
        if isinstance(message, Forward) and sender == S1 and not lost:
            lost.append(message)
            return "drop"
        if isinstance(message, Confirmed) and sender == S2:
            confirmed.append(message)
        return None

    watched(job, lose)
    job.run_until(lambda: bool(confirmed))
    numbers = lost[0].numbers
    assert all(confirmed[0].numbers[span] < number for span, number in numbers.items())
    watched(job, lambda s, t, m: None)
    job.run_for(2.0)
    for index, span in server(job, S2).machine.backing.spans.items():
        assert np.array_equal(span.theta, server(job, S1).machine.spans[index].theta) or span.changes > 1
    replaced(job, S1, S0, S2)
    finish(job)


def trace_13_caught_up_in_the_next_term() -> None:
    """What S1 has applied and S2 has not is forwarded in the next term: then S1 may be lost."""
    job = stage(servers=3, workers=1, steps=24, backup=True)
    chief = opened(job, S0, S1, S2)
    job.run_until(lambda: done(chief) >= 2)
    watched(job, lambda s, t, m: "drop" if isinstance(m, Forward) and s == S1 else None)
    job.run_until(lambda: worker(job, W0).machine.busy)
    g = leased(job, W0).g
    job.run_until(lambda: all(span.has(g) for span in server(job, S1).machine.spans.values()))
    job.raise_term(S0, S1, S2)
    job.run_until(lambda: server(job, S1).machine.admitted and server(job, S1).machine.number == 2)
    watched(job, lambda s, t, m: None)
    job.run_until(lambda: all(span.has(g) for span in server(job, S2).machine.backing.spans.values()), 5.0)
    replaced(job, S1, S0, S2)
    finish(job)


def trace_3_line_of_a_backup() -> None:
    """S1 published twice more than its backup knows; what W0 pulls from S1' is p itself, in a new line."""
    job = stage(method="sparse", servers=3, steps=40, backup=True)
    chief = opened(job, S0, S1, S2)
    job.run_until(lambda: done(chief) >= 4)
    watched(job, lambda s, t, m: "drop" if isinstance(m, Forward) and s == S1 else None)
    before = {i: (span.line, span.count) for i, span in server(job, S1).machine.spans.items()}
    job.run_until(lambda: all(s.count > before[i][1] for i, s in server(job, S1).machine.spans.items()))
    watched(job, lambda s, t, m: None)
    new = replaced(job, S1, S0, S2)
    for index, span in server(job, new).machine.spans.items():
        assert (span.line, before[index][0]) == (2, 1)
    finish(job)


def trace_2_spans_of_two_servers_on_one() -> None:
    """r is on S1's spans and not on S0's; all move to S0; another worker pushes r: each span has its own answer."""
    job = stage(method="sparse", steps=24)
    opened(job)
    watched(job, lambda s, t, m: "drop" if s == W0 and isinstance(m, Push) and t == S0 else None)
    job.run_until(lambda: worker(job, W0).machine.busy)
    g = leased(job, W0).g
    job.run_until(lambda: all(span.has(g) for span in server(job, S1).machine.spans.values()))
    job.run_for(0.05)
    answered: list[Answers] = []

    def note(sender: Member, to: Member, message: Message) -> Verdict | None:
        if isinstance(message, Answers) and to == W1 and len(message.answers) == 4:
            answered.append(message)
        return None

    job.members[W0].kill()
    watched(job, note)
    job.raise_term(S0, sources=(S1,))
    finish(job)
    assert any(set(one.answers.values()) == {"applied", "duplicate"} for one in answered)


def trace_6_backup_of_an_older_branch() -> None:
    """Term 2 rolls back; S2 has not dropped its backups of branch 1 when S1 is lost: they are not gone on from."""
    job = stage(servers=3, steps=60, checkpoint_every=8, backup=True)
    chief = opened(job, S0, S1, S2)
    job.run_until(lambda: done(chief) >= 6)
    watched(job, lambda s, t, m: "drop" if isinstance(m, Order) and isinstance(m.body, Drop) and t == S2 else None)
    job.raise_term(S0, S1, S2, restore=True)
    job.run_until(lambda: all(span.branch == 2 for span in server(job, S0).machine.spans.values()))
    assert {span.branch for span in server(job, S2).machine.backing.spans.values()} == {1}
    watched(job, lambda s, t, m: None)
    job.members[S1].kill()
    started(job, again(S1))
    chief = opened(job, S0, again(S1), S2)
    assert chief.opened is not None and chief.opened.branch == 3
    finish(job)


def trace_8_owner_and_neighbour_lost() -> None:
    """S1 and S2, which holds its backups, die together: all go back to the checkpoint, on one branch."""
    job = stage(servers=3, steps=60, checkpoint_every=8, backup=True)
    chief = opened(job, S0, S1, S2)
    job.run_until(lambda: done(chief) >= 6)
    for lost in (S1, S2):
        job.members[lost].kill()
        started(job, again(lost))
    chief = opened(job, S0, again(S1), again(S2))
    assert chief.opened is not None and chief.opened.restored is not None
    assert {span.branch for s in job.servers() for span in s.machine.spans.values()} == {2}
    finish(job)


def trace_8_older_holdings_are_replaced() -> None:
    """Term 2 rolls back; S2 has not dropped when term 3 comes: it takes its own spans from S0, their neighbour."""
    job = stage(servers=3, steps=60, checkpoint_every=8, backup=True)
    chief = opened(job, S0, S1, S2)
    job.run_until(lambda: done(chief) >= 6)
    watched(job, lambda s, t, m: "drop" if isinstance(m, Order) and isinstance(m.body, Drop) and t == S2 else None)
    job.raise_term(S0, S1, S2, restore=True)
    job.run_until(lambda: all(span.branch == 2 for span in server(job, S0).machine.spans.values()))
    job.run_until(lambda: all(span.branch == 2 for span in server(job, S1).machine.spans.values()))
    assert {span.branch for span in server(job, S2).machine.spans.values()} == {1}
    watched(job, lambda s, t, m: None)
    opened(job, S0, S1, S2)
    assert job.store.bases[3] == Base(continues=2)
    assert {span.branch for span in server(job, S2).machine.spans.values()} == {2}
    finish(job)


def trace_5_skip_is_backed_up() -> None:
    """A skip enters the backup too: the neighbour's applied set is the owner's when that is lost."""
    job = stage(servers=3, steps=24, backup=True)
    job.bad_ranges[2] = 10**6
    job.ever_bad.add(2)
    chief = opened(job, S0, S1, S2)
    skips: list[Message] = []

    def note(sender: Member, to: Member, message: Message) -> Verdict | None:
        if isinstance(message, Order) and isinstance(message.body, Skip):
            skips.append(message)
        return None

    watched(job, note)
    job.run_until(lambda: done(chief) >= 5 and bool(skips))
    assert all(2 in span.skipped for span in server(job, S2).machine.backing.spans.values())
    replaced(job, S1, S0, S2)
    finish(job)


TRACES = [
    trace_2_spans_of_two_servers_on_one,
    trace_3_line_of_a_backup,
    trace_5_skip_is_backed_up,
    trace_6_backup_of_an_older_branch,
    trace_8_owner_and_neighbour_lost,
    trace_8_older_holdings_are_replaced,
    trace_13_one_lost_server_costs_nothing,
    trace_13_said_before_confirmed,
    trace_13_confirmed_in_order,
    trace_13_caught_up_in_the_next_term,
]
