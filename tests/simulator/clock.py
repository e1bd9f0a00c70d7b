"""Virtual time: events in order of time, random numbers from one seed, and a log that costs nothing when it is off."""

import heapq
import random
from collections.abc import Callable
from typing import Any


class Violation(AssertionError):
    """The protocol's contract was broken."""


class Clock:
    def __init__(self, seed: int, trace: bool = False) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.events = 0
        self.lines: list[str] | None = [] if trace else None
        self._heap: list[tuple[float, int, Callable[..., Any], tuple[Any, ...]]] = []
        self._number = 0

    def at(self, time: float, do: Callable[..., Any], *args: Any) -> None:
        self._number += 1
        heapq.heappush(self._heap, (max(time, self.now), self._number, do, args))

    def after(self, delay: float, do: Callable[..., Any], *args: Any) -> None:
        self.at(self.now + delay, do, *args)

    def log(self, text: str, *args: object) -> None:
        if self.lines is not None:
            self.lines.append(f"{self.now:9.3f} {text % args if args else text}")

    def run(self, until: float, stop: Callable[[], bool] | None = None) -> bool:
        """Runs events up to the time `until`; True when `stop` said so after one of them."""
        heap = self._heap
        if stop is not None and stop():
            return True
        while heap and heap[0][0] <= until:
            self.now, _, do, args = heapq.heappop(heap)
            self.events += 1
            do(*args)
            if stop is not None and stop():
                return True
        self.now = max(self.now, until)
        return False
