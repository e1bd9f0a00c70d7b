"""The set of ranges: what is removed of a restored one is a gap again."""

import pytest

from deepseek_runtime.protocol.applied import AppliedSet


@pytest.mark.parametrize("removed", [0, 3, 4, 7, 9])
def test_removing_leaves_a_gap(removed: int) -> None:
    numbers = [0, 1, 2, 3, 4, 7]
    applied = AppliedSet.of(numbers)
    applied.remove(removed)
    assert list(applied) == [g for g in numbers if g != removed]
    assert removed not in applied
    applied.add(removed)
    assert removed in applied
    assert len(applied) == len({*numbers, removed})
