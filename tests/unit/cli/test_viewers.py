"""Which view a terminal, a pipe and a dumb terminal get, and when plain lines are due."""

from dataclasses import replace

import pytest

from builders import snapshots
from deepseek_operator.cli.viewers import JsonLines, PlainLines, Screen, Silent, viewer


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    return monkeypatch


def test_which_view(terminal: pytest.MonkeyPatch) -> None:
    assert isinstance(viewer("text", True), Screen)
    assert isinstance(viewer("json", True), JsonLines)
    assert isinstance(viewer("text", False), Silent)
    for word in ("dumb", "unknown", ""):
        terminal.setenv("TERM", word)
        assert isinstance(viewer("text", True), PlainLines), word
    terminal.setenv("TERM", "xterm")
    terminal.setattr("sys.stdout.isatty", lambda: False)
    terminal.setenv("FORCE_COLOR", "1")
    assert isinstance(viewer("text", True), PlainLines), "colours in a pipe do not make it a terminal"


def test_lines_are_due_every_ten_seconds_and_on_every_change(capsys: pytest.CaptureFixture[str]) -> None:
    shot = snapshots.snapshot(events=())
    view = PlainLines(())

    def said(seconds: float, **changes: object) -> int:
        view.show(replace(shot, now=snapshots.NOW + seconds, **changes))  # type: ignore[arg-type]
        return len(capsys.readouterr().out.splitlines())

    assert [said(0), said(1), said(9.9), said(10), said(11)] == [1, 0, 0, 1, 0]
    assert said(12, notice="stopping") == 1
    assert said(13, notice="stopping") == 0
    event = replace(shot, status=shot.status.model_copy(update={"events": (snapshots.event(1, "Created", "a"),)}))
    view.show(replace(event, now=snapshots.NOW + 13, notice="stopping"))
    assert capsys.readouterr().out == "2023-11-14T22:12:49Z event Created  a\n"


def test_the_last_line_is_not_said_twice(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainLines(())
    view.show(snapshots.succeeded())
    capsys.readouterr()
    view.last(snapshots.succeeded())
    assert capsys.readouterr().out == ""
    view = PlainLines(())
    view.show(snapshots.snapshot())
    capsys.readouterr()
    view.last(snapshots.snapshot(progress=snapshots.progress(step=1300)))
    assert "step 1300/5000" in capsys.readouterr().out


def test_known_events_are_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    shot = snapshots.snapshot()
    PlainLines(shot.status.events[:4]).show(shot)
    out = capsys.readouterr().out
    assert out.count(" event ") == 2
