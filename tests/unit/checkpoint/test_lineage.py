"""Which checkpoint a term begins from; the histories are those of protocol.md's traces 8 to 11 and 17."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_runtime.protocol.lineage import (
    Base,
    Bases,
    Indexes,
    Leg,
    LineageBroken,
    Step,
    candidates,
    garbage,
    legs,
    lineage,
    newest,
    survivors,
)


def restored(term: int, step: int) -> Base:
    return Base(restored=Step(term, step))


def continues(term: int) -> Base:
    return Base(continues=term)


FIRST = {1: restored(1, 0)}


@pytest.mark.parametrize(
    "term, bases, indexes, expected",
    [
        pytest.param(1, {}, {}, None, id="nothing yet: initialise"),
        pytest.param(2, {}, {1: {0}}, None, id="an index without a base is nothing (trace 17)"),
        pytest.param(2, FIRST, {1: {0}}, (1, 0), id="step 0"),
        pytest.param(2, FIRST, {1: {0, 10, 20}}, (1, 20), id="the newest of the term before"),
        pytest.param(3, {**FIRST, 2: restored(1, 10)}, {1: {0, 10}}, (1, 10), id="no index: what it restored"),
        pytest.param(
            3, {**FIRST, 2: restored(1, 10)}, {1: {0, 10, 20}}, (1, 10), id="never what a zombie wrote late (trace 9)"
        ),
        pytest.param(3, {**FIRST, 2: continues(1)}, {1: {0, 10}}, (1, 10), id="continued, no index: its predecessor's"),
        pytest.param(3, {**FIRST, 2: continues(1)}, {1: {0, 10}, 2: {20}}, (2, 20), id="continued, with an index"),
        pytest.param(
            5,
            {**FIRST, 2: restored(1, 10), 3: continues(2), 4: continues(3)},
            {1: {0, 10, 90}, 2: {20}},
            (2, 20),
            id="through two continued terms",
        ),
        pytest.param(9, FIRST, {1: {0}, 5: {70}}, (1, 0), id="terms that never stored a base do not count"),
        pytest.param(
            4, {**FIRST, 3: restored(1, 0)}, {1: {0, 10}, 2: {15}, 3: set()}, (1, 0), id="an empty set is no index"
        ),
    ],
)
def test_newest(term: int, bases: Bases, indexes: Indexes, expected: tuple[int, int] | None) -> None:
    assert newest(term, bases, indexes) == expected
    assert next(candidates(term, bases, indexes), None) == expected


def test_a_restored_checkpoint_that_is_gone_is_still_named() -> None:
    bases = {**FIRST, 2: restored(1, 10)}
    assert newest(3, bases, {1: {0}}) == (1, 10)
    assert list(candidates(3, bases, {1: {0}})) == [(1, 0)]


def test_candidates_go_back_along_the_lineage_only() -> None:
    bases = {**FIRST, 2: restored(1, 10), 3: continues(2), 4: restored(3, 30)}
    indexes = {1: {0, 5, 10, 20}, 2: {15, 25}, 3: {30, 40}, 4: {50}}
    assert list(candidates(5, bases, indexes)) == [(4, 50), (3, 30), (2, 25), (2, 15), (1, 10), (1, 5), (1, 0)]


def test_legs_say_what_counts() -> None:
    bases = {**FIRST, 2: restored(1, 10), 3: continues(2), 4: restored(3, 30)}
    assert legs(4, bases) == [Leg(4, None), Leg(3, 30), Leg(2, None), Leg(1, 10)]


@pytest.mark.parametrize(
    "bases",
    [{2: continues(1)}, {2: continues(2)}, {1: continues(2), 2: continues(1)}, {2: restored(3, 1), 3: restored(2, 1)}],
)
def test_a_broken_chain_is_an_error_and_never_an_older_checkpoint(bases: Bases) -> None:
    with pytest.raises(LineageBroken):
        list(lineage(2, bases, {1: {10}, 2: {1}, 3: {1}}))
    with pytest.raises(LineageBroken):
        garbage(2, 1, bases, {1: {10}}, [Step(1, 10)])


@pytest.mark.parametrize("restored_, continued", [(None, None), (Step(1, 0), 1)])
def test_a_base_is_one_of_two(restored_: Step | None, continued: int | None) -> None:
    with pytest.raises(ValueError, match="either"):
        Base(restored_, continued)


def test_keep_counts_along_the_lineage_and_step_0_like_any() -> None:
    bases = {**FIRST, 2: restored(1, 10)}
    indexes = {1: {0, 10, 20}, 2: {20}}
    assert survivors(2, 2, bases, indexes) == {(2, 20), (1, 10)}
    assert survivors(2, 3, bases, indexes) == {(2, 20), (1, 10), (1, 0)}


def test_what_the_next_term_restores_always_stays() -> None:
    bases = {**FIRST, 2: restored(1, 10), 3: continues(2)}
    assert survivors(3, 1, bases, {1: {0, 10, 20}}) == {(1, 10)}


def test_garbage_is_other_lines_and_what_was_never_finished() -> None:
    bases = {**FIRST, 2: restored(1, 10)}
    indexes = {1: {0, 10, 20}, 2: {20, 40}}
    folders = [Step(1, step) for step in (0, 10, 20, 30)] + [Step(2, step) for step in (20, 30, 40, 50)] + [Step(3, 60)]
    assert garbage(2, 2, bases, indexes, folders) == {(1, 0), (1, 10), (1, 20), (1, 30), (2, 30)}
    # (2, 50) may be in the making, (3, 60) is a newer chief's


def test_a_zombie_deletes_nothing_of_a_newer_term() -> None:
    """Trace 10, were it not for rule 4's question to etcd: what term 2 wrote is safe even then."""
    bases = {**FIRST, 2: restored(1, 1)}
    assert garbage(1, 1, bases, {1: {0, 1, 2}, 2: {5}}, [Step(1, 0), Step(1, 1), Step(2, 5)]) == {(1, 0), (1, 1)}


def test_keep_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        survivors(1, 0, FIRST, {1: {0}})


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[int, Base], dict[int, set[int]]]:
    """A job's life as the protocol allows it, with zombies that write indexes of older terms late."""
    bases: dict[int, Base] = {}
    indexes: dict[int, set[int]] = {}
    for term in range(1, draw(st.integers(2, 7))):
        if draw(st.integers(0, 4)) == 0:
            continue  # never got as far as a base
        found = newest(term, bases, indexes)
        parent = max(bases, default=None)
        if found is None or parent is None:
            bases[term], indexes[term] = restored(term, 0), {0}
        elif draw(st.booleans()):
            bases[term] = continues(parent)
        else:
            bases[term] = Base(restored=found)
        first = 0 if found is None else found.step
        for step in range(first + 1, first + 1 + draw(st.integers(0, 3))):
            indexes.setdefault(term, set()).add(step)
        for zombie in draw(st.lists(st.sampled_from(range(1, term + 1)), max_size=2)):
            if zombie < term and bases.get(zombie) and bases[term].restored is not None:
                indexes.setdefault(zombie, set()).add(100 + term)
    return bases, indexes


@given(histories(), st.integers(1, 4))
def test_cleaning_never_changes_what_is_restored(
    history: tuple[dict[int, Base], dict[int, set[int]]], keep: int
) -> None:
    bases, indexes = history
    if not bases:
        return
    term = max(bases)
    before = newest(term + 1, bases, indexes)
    assert before is not None
    kept = survivors(term, keep, bases, indexes)
    assert before in kept
    on_lineage = list(lineage(term, bases, indexes))
    assert on_lineage[0] == before
    assert kept == set(on_lineage[:keep])
    folders = [Step(number, step) for number, steps in indexes.items() for step in steps]
    gone = garbage(term, keep, bases, indexes, folders)
    left = {number: {step for step in steps if Step(number, step) not in gone} for number, steps in indexes.items()}
    assert newest(term + 1, bases, left) == before
    assert list(candidates(term + 1, bases, left)) == on_lineage[:keep]
