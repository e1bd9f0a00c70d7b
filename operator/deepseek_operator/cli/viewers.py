"""Three ways to show a job while it runs: one screen of a terminal, plain lines, JSON lines. The terminal's edge."""

import os
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

import click
from rich.console import Console, Group
from rich.live import Live

from deepseek_operator.api.status import JobEvent
from deepseek_operator.cli.answer import say_json_line, unicode_out
from deepseek_operator.view import lines
from deepseek_operator.view.screen import Page, screen
from deepseek_operator.view.snapshot import Snapshot

LINE_SECONDS = 10.0
"""Between two plain lines; changes of phase and events come at once."""


class Viewer(Protocol):
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...
    def show(self, shot: Snapshot, hint: str = "") -> None: ...
    def last(self, shot: Snapshot) -> None:
        """The view ends: what was not shown yet."""


def viewer(output: str, show: bool, known: Sequence[JobEvent] = ()) -> Viewer:
    """`known`: events that were there before, not shown again."""
    if not show:
        return Silent()
    if output == "json":
        return JsonLines(known)
    return Screen() if on_terminal() else PlainLines(known)


def on_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "").lower() not in ("", "dumb", "unknown")


class Silent:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        return None

    def show(self, shot: Snapshot, hint: str = "") -> None:
        return None

    def last(self, shot: Snapshot) -> None:
        return None


class Screen:
    """Redrawn in place; gone when the view ends, so that the summary follows the command."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._unicode = unicode_out()
        self._live = Live(console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop")

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.__exit__(kind, error, at)

    def show(self, shot: Snapshot, hint: str = "") -> None:
        width, height = self._console.size
        # One column and one line stay free: a terminal that wraps at its edge would scroll.
        page = Page(max(20, width - 1), max(5, height - 1), self._unicode)
        said = "its members are leaving" if shot.over else "" if shot.notice else hint
        self._live.update(Group(*screen(shot, page, said)), refresh=True)

    def last(self, shot: Snapshot) -> None:
        return None


class _Lines:
    def __init__(self, known: Sequence[JobEvent]) -> None:
        self._known = tuple(known)
        self._due = 0.0
        self._said = ("", "", -1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        return None

    def show(self, shot: Snapshot, hint: str = "") -> None:
        for event in lines.fresh(self._known, shot.status.events):
            self._event(shot, event)
        self._known = shot.status.events
        if shot.now >= self._due or (shot.phase, shot.notice) != self._said[:2]:
            self._say(shot)

    def last(self, shot: Snapshot) -> None:
        self.show(shot)
        if (shot.phase, shot.notice, shot.step) != self._said:
            self._say(shot)

    def _say(self, shot: Snapshot) -> None:
        self._progress(shot)
        self._due = shot.now + LINE_SECONDS
        self._said = (shot.phase, shot.notice, shot.step)

    def _event(self, shot: Snapshot, event: JobEvent) -> None:
        raise NotImplementedError

    def _progress(self, shot: Snapshot) -> None:
        raise NotImplementedError


class PlainLines(_Lines):
    def _event(self, shot: Snapshot, event: JobEvent) -> None:
        click.echo(lines.event_line(event))

    def _progress(self, shot: Snapshot) -> None:
        click.echo(lines.progress_line(shot))


class JsonLines(_Lines):
    def _event(self, shot: Snapshot, event: JobEvent) -> None:
        say_json_line(lines.event_json(shot, event))

    def _progress(self, shot: Snapshot) -> None:
        say_json_line(lines.progress_json(shot))
