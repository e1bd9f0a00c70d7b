"""An owner's side of its backups: every change of a span goes to the neighbour, and nothing is said before it has it.

protocol.md, Server 6. Changes are sent again from the first unconfirmed, also after a reconnect and in the next term:
a neighbour that kept its backup goes on where it stood.
"""

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import inf

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.effects import Effect, Send
from deepseek_runtime.protocol.neighbours import Confirmed, Forward


@dataclass(slots=True)
class _Open:
    """A change that the neighbour has not confirmed for each of its spans."""

    order: int
    change: Forward
    sent_at: float


class Forwarding:
    """`resend`: seconds until an unconfirmed change is sent again. Without a neighbour everything is said at once."""

    def __init__(self, resend: float) -> None:
        self.neighbour: Member | None = None
        self._resend = resend
        self._term = 0
        self._open: deque[_Open] = deque()
        self._have: dict[int, int] = {}
        """By span: what the neighbour has confirmed, of the present term."""
        self._held: deque[tuple[int, list[Effect]]] = deque()
        """What is to be said, after which change."""
        self._order = 0

    def stop(self) -> None:
        """A newer term: what was to be said was for the older one. Changes stay: this server's holdings may go on."""
        self.neighbour = None
        self._held.clear()

    def begin(self, term: int, neighbour: Member | None, kept: Collection[int]) -> None:
        """What this server holds is settled. `kept`: spans that are still its own, with every change it made."""
        self._term, self.neighbour = term, neighbour
        self._have.clear()
        going_on: deque[_Open] = deque()
        if neighbour is not None:
            for one in self._open:
                numbers = {span: number for span, number in one.change.numbers.items() if span in kept}
                if numbers:
                    going_on.append(_Open(one.order, replace(one.change, term=term, numbers=numbers), inf))
        self._open = going_on

    def go_on(self, now: float) -> list[Effect]:
        """The neighbour is ready too: what it may lack is sent again, in order."""
        if self.neighbour is None:
            return []
        for one in self._open:
            one.sent_at = now
        return [Send(self.neighbour, one.change) for one in self._open]

    def forward(self, change: Forward, now: float) -> list[Effect]:
        """Server 6: each change goes to the neighbour as it came."""
        if self.neighbour is None:
            return []
        self._order += 1
        self._open.append(_Open(self._order, change, now))
        return [Send(self.neighbour, change)]

    def say(self, effects: list[Effect]) -> list[Effect]:
        """Server 6: what is said waits until the neighbour has everything that was applied before. Returns what need
        not wait."""
        if not self._open:
            return effects
        self._held.append((self._open[-1].order, effects))
        return []

    def on_confirmed(self, sender: Member, confirmed: Confirmed) -> list[Effect]:
        """Returns what may be said now, in order."""
        if sender != self.neighbour or confirmed.term != self._term:
            return []
        for span, number in confirmed.numbers.items():
            self._have[span] = max(number, self._have.get(span, 0))
        while self._open and self._confirmed(self._open[0].change.numbers):
            self._open.popleft()
        first = self._open[0].order if self._open else self._order + 1
        free: list[Effect] = []
        while self._held and self._held[0][0] < first:
            free += self._held.popleft()[1]
        return free

    def _confirmed(self, numbers: Mapping[int, int]) -> bool:
        return all(self._have.get(span, 0) >= number for span, number in numbers.items())

    def due(self, now: float) -> list[Effect]:
        """All that is unconfirmed, in order, if the first of it was sent a while ago."""
        if not self._open or now - self._open[0].sent_at < self._resend:
            return []
        return self.go_on(now)
