"""The live view, as text: golden pages at two widths, and what no page may do."""

from dataclasses import replace
from pathlib import Path

import pytest

from builders import snapshots
from deepseek_operator.view.screen import Page, screen
from deepseek_operator.view.snapshot import Snapshot

GOLDEN = Path(__file__).parent / "golden"
HINT = "Ctrl-C stops the job   q leaves this view, the job runs on"
PAGES = {
    "starting-80": (snapshots.starting(), Page(79, 23)),
    "running-80": (snapshots.snapshot(), Page(79, 23)),
    "running-120": (snapshots.snapshot(), Page(119, 39)),
    "running-ascii": (snapshots.snapshot(), Page(79, 23, unicode=False)),
    "restarting-80": (snapshots.restarting(), Page(79, 23)),
    "restarting-120": (snapshots.restarting(), Page(119, 39)),
    "crowd-80": (snapshots.crowd(), Page(79, 23)),
    "draining-80": (replace(snapshots.draining(), notice="stopping: a checkpoint is written"), Page(79, 23)),
    "succeeded-80": (snapshots.succeeded(), Page(79, 23)),
}


def text(shot: Snapshot, page: Page) -> str:
    return "".join(f"{line.plain.rstrip()}\n" for line in screen(shot, page, HINT))


@pytest.mark.parametrize("name", PAGES)
def test_page(name: str) -> None:
    assert text(*PAGES[name]) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width, height", [(20, 5), (40, 12), (80, 24), (200, 60)])
@pytest.mark.parametrize("unicode", [True, False])
def test_every_page_fits(name: str, width: int, height: int, unicode: bool) -> None:
    lines = screen(PAGES[name][0], Page(width, height, unicode), HINT)
    assert len(lines) <= height
    assert max(line.cell_len for line in lines) <= width
    assert all("\n" not in line.plain for line in lines)


def test_ascii_pages_are_ascii() -> None:
    for shot, page in PAGES.values():
        assert text(shot, replace(page, unicode=False)).isascii()


def test_state_is_a_word_not_a_colour_alone() -> None:
    for shot, page in PAGES.values():
        assert shot.phase in screen(shot, page)[0].plain


def test_messages_of_user_code_cannot_move_the_cursor() -> None:
    shot = snapshots.snapshot(message="bad\x1b[2J\r\nthing", events=(snapshots.event(1, "Odd", "a\x1b[31m\nb"),))
    assert not {"\x1b", "\r"} & set(text(shot, Page(79, 23)))


def test_members_keep_their_lines_longer_than_old_news() -> None:
    """A usual terminal of 24 lines shows each of five members while something recovers."""
    shown = text(snapshots.restarting(), Page(79, 23))
    assert all(f"worker-{index}-0" in shown for index in range(3))
    assert "worker 1 lost at step 1180" in shown
