"""How many ranges may be skipped in a row."""

from deepseek_runtime.contract.exit_codes import USER_CODE
from deepseek_runtime.protocol.skips import IN_A_ROW, SkipsInARow
from deepseek_runtime.ranges import RangePlan


def skips(steps: int = 400) -> SkipsInARow:
    return SkipsInARow(RangePlan(160, 8, 4, steps))


def test_a_row_of_skipped_ranges_is_the_user_s_mistake_once() -> None:
    counted = skips()
    said = [fail for g in range(50, 50 + 2 * IN_A_ROW) for fail in counted.skipped(g, f"batch {4 * g}: nan")]
    (fail,) = said
    assert (fail.code, fail.reason) == (USER_CODE, "NothingFinite")
    assert "from step 200 on: batch 200: nan; 10 ranges" in fail.text
    assert counted.given_up


def test_a_trained_range_ends_the_row() -> None:
    counted = skips()
    for g in range(1, 100):
        if g % IN_A_ROW:
            assert counted.skipped(g, "nan") == []
        else:
            counted.pushed(g)
    assert not counted.given_up


def test_a_slow_neighbour_from_before_the_row_does_not_end_it() -> None:
    counted = skips()
    for g in range(20, 20 + IN_A_ROW - 1):
        assert counted.skipped(g, "nan") == []
        counted.pushed(19)
    (fail,) = counted.skipped(40, "nan")
    assert "from step 80 on" in fail.text


def test_all_of_a_short_job() -> None:
    counted = skips(steps=8)
    assert counted.skipped(1, "second") == []
    (fail,) = counted.skipped(0, "first")
    assert "from step 0 on: first; 2 ranges" in fail.text
