"""Ctrl-C and SIGTERM as things to be read, so that a view can finish its line and say what it does."""

import os
import select
import signal
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Self


class Asks:
    """Counts what was asked for, and wakes `wait`.

    While `starting` is true a second Ctrl-C raises KeyboardInterrupt: a start is not waited for twice.
    """

    def __init__(self) -> None:
        self.interrupts = 0
        self.terminated = False
        self.starting = False
        self._news = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]
        os.close(self._news)

    @property
    def count(self) -> int:
        """How often the job was asked to end."""
        return self.interrupts + self.terminated

    def wait(self, seconds: float, handles: Iterable[int] = ()) -> set[int]:
        """Until something was asked for, a handle can be read, or the time is over; the handles that can be read."""
        ready, _, _ = select.select([self._news, *handles], [], [], max(0.0, seconds))
        if self._news in ready:
            os.eventfd_read(self._news)
        return set(ready) - {self._news}

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            self.terminated = True
        else:
            self.interrupts += 1
        if self.starting and self.count > 1:
            raise KeyboardInterrupt
        os.eventfd_write(self._news, 1)
