"""The key that leaves a view, on a terminal that is ours to read."""

import contextlib
import os
import sys
import termios
import tty
from types import TracebackType
from typing import Any, Self


class Keys:
    """Keys at once and without echo. Ctrl-C stays a signal. `handle` is None where there is no keyboard."""

    def __init__(self) -> None:
        self.handle: int | None = None
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        try:
            handle = sys.stdin.fileno()
            if os.isatty(handle) and _ours(handle):
                self._before = termios.tcgetattr(handle)
                tty.setcbreak(handle, termios.TCSADRAIN)
                self.handle = handle
        except (OSError, ValueError, AttributeError, termios.error):
            self.handle = None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.handle is not None and _ours(self.handle):
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self.handle, termios.TCSADRAIN, self._before)

    def left(self) -> bool:
        """Whether `q` was pressed. Called when the handle can be read."""
        if self.handle is None or not _ours(self.handle):
            return False
        try:
            pressed = os.read(self.handle, 64)
        except OSError:
            pressed = b""
        if not pressed:
            self.handle = None
        return b"q" in pressed.lower()


def _ours(handle: int) -> bool:
    """A process in the background would be stopped for touching the terminal."""
    try:
        return os.tcgetpgrp(handle) == os.getpgrp()
    except OSError:
        return False
