"""Random histories: the audit finds what is really in the spans, from journals and store alone."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from builders.journals import PLAN, JournaledJob
from deepseek_runtime.audit import count, history
from deepseek_runtime.checkpoint.memory import MemoryStore
from deepseek_runtime.protocol.lineage import Base, Bases, Step

SPANS = 3
some_spans = st.sets(st.integers(0, SPANS - 1), min_size=1)
operation = st.one_of(
    st.tuples(st.just("push"), st.integers(0, PLAN.count - 1), st.one_of(st.none(), some_spans)),
    st.tuples(st.just("copy"), st.integers(0, SPANS - 1), st.none()),
    st.tuples(st.just("save"), st.none(), st.none()),
    st.tuples(st.just("restore"), st.none(), st.none()),
    st.tuples(st.just("go on"), st.none(), st.none()),
    st.tuples(st.just("kill"), st.integers(0, 1), st.none()),
    st.tuples(st.just("fail over"), st.integers(0, PLAN.count - 1), st.sampled_from([{0}, {1}, {0, 1}])),
    st.tuples(st.just("clean"), st.integers(1, 2), st.none()),
    st.tuples(st.just("zombie"), st.integers(0, PLAN.count - 1), st.none()),
)


@given(st.lists(operation, max_size=40), st.booleans())
@settings(max_examples=80)
def test_the_audit_finds_what_is_there(operations: list[tuple[str, int, set[int]]], last: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        job = JournaledJob(data, MemoryStore(f"memory://{folder}"), SPANS, backup=last)
        step, newest = 0, Step(1, 0)
        for what, number, spans in operations:
            if what == "push":
                job.push(number, spans)
            elif what == "copy":
                job.copy(number)
            elif what == "save":
                step += 1
                job.save(step)
                newest = Step(job.term, step)
            elif what == "restore":
                job.restore(newest)
            elif what == "go on":
                job.go_on()
            elif what == "kill":
                job.kill(number, torn=number == 0)
                job.restore(newest)  # what a killed server held is gone
            elif what == "fail over":
                job.fail_over(len(spans) - 1, number, again=0 in spans)
            elif what == "clean":
                job.clean(number)
            elif what == "zombie" and job.term > 1 and job.spans[0].line == job.term:
                # A line that was given up goes on beyond the checkpoint somewhere: it counts nowhere.
                job.sequence += 1
                line = {"g": number, "worker": "worker-9-0", "sequence": job.sequence, "term": job.term - 1}
                job.write(0, {**line, "spans": [[0, job.term - 1, 1000 + job.sequence]]})
                job.rolled_back[0][number] += 1
        if last:
            job.save(PLAN.steps)
        result = count(data, job.store, lambda samples: PLAN, complete=last)
        if last:
            assert result.samples_lost == job.lost(range(PLAN.count))
            assert (result.samples_total, result.ranges) == (160, 20)
        else:
            assert result.samples_lost == 0
        assert result.samples_repeated == job.repeated()
        assert result.samples_rolled_back == job.given_up()
        assert result.wire_bytes == job.wire_truth
        assert result.terms == job.term
        assert result.problems == ()


def test_a_history_by_hand() -> None:
    bases: Bases = {
        1: Base(restored=Step(1, 0)),
        2: Base(continues=1),
        3: Base(restored=Step(2, 20)),
        4: Base(restored=Step(3, 30)),
        5: Base(continues=4),
        6: Base(continues=5),
    }
    assert history(6, bases) == [(4, None), (3, (3, 30)), (1, (2, 20))]
    assert history(2, bases) == [(1, None)]
    assert history(3, bases) == [(3, None), (1, (2, 20))]
