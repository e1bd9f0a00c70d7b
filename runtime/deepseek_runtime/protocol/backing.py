"""A neighbour's side of backups: it takes the changes of spans that the server before it owns, each once, in order.

protocol.md, Server 6. Short messages overtake long ones, so a change may come before the one that it follows: it waits.
"""

from collections.abc import Callable

from deepseek_runtime.protocol.neighbours import Confirmed, Forward
from deepseek_runtime.protocol.span import Span

EARLY = 4096
"""Changes of one span that may wait for an earlier one; an owner has at most a few for each worker under way."""


class Backing:
    """`spans`: what this server holds for the one before it. `taken` is told of each change that was taken."""

    def __init__(self, taken: Callable[[Forward, tuple[Span, ...]], None]) -> None:
        self.spans: dict[int, Span] = {}
        self.taking: Forward | None = None
        """The change that is being applied."""
        self._taken = taken
        self._early: dict[int, dict[int, Forward]] = {}

    def hold(self, spans: dict[int, Span]) -> None:
        """From now on these; what waited belongs to others."""
        self.spans = spans
        self._early.clear()

    def take(self, change: Forward) -> Confirmed:
        """Applies what is next, and says what of its spans is here."""
        known = [index for index in change.numbers if self._holds(index, change.branch)]
        now = [self.spans[index] for index in known if self.is_next(self.spans[index].changes, change.numbers[index])]
        for index in known:
            if change.numbers[index] > self.spans[index].changes and self.spans[index] not in now:
                early = self._early.setdefault(index, {})
                if len(early) < EARLY:
                    early[change.numbers[index]] = change
        self._apply(change, tuple(now))
        for span in now:
            self._catch_up(span)
        return Confirmed(change.term, {index: self.spans[index].changes for index in known})

    def _holds(self, index: int, branch: int) -> bool:
        span = self.spans.get(index)
        return span is not None and span.branch == branch

    @staticmethod
    def is_next(changes: int, number: int) -> bool:
        """Server 6: only in order."""
        return number == changes + 1

    def _catch_up(self, span: Span) -> None:
        waiting = self._early.get(span.index)
        while waiting and (change := waiting.pop(span.changes + 1, None)) is not None:
            self._apply(change, (span,))

    def _apply(self, change: Forward, spans: tuple[Span, ...]) -> None:
        if not spans:
            return
        self.taking = change
        for span in spans:
            span.follow(change.g, change.push)
        self.taking = None
        self._taken(change, spans)
