"""Spans that a server needs from others while a term opens: asked for a few at a time, and again until they are here.

The server that has them keeps them unchanged until the chief says Drop, so it answers as often as it is asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.effects import Effect, Send
from deepseek_runtime.protocol.neighbours import Fetch, HandOver

WINDOW = 8
"""Spans asked for at once: enough for the link, little memory."""
LONGEST = 30.0
"""Seconds until a span is asked for again, at most: large ones take their time."""


@dataclass(slots=True)
class _Asked:
    at: float
    wait: float


class Fetching:
    """Of one Place. `resend`: seconds until a span is asked for again; doubles."""

    def __init__(self, term: int, origins: Mapping[int, Member], resend: float) -> None:
        self.here: dict[int, HandOver] = {}
        self._term = term
        self._origins = dict(origins)
        self._resend = resend
        self._asked: dict[int, _Asked] = {}

    @property
    def complete(self) -> bool:
        return len(self.here) == len(self._origins)

    def ask(self, now: float) -> list[Effect]:
        """Those that may be asked for now, for the first time or again."""
        effects: list[Effect] = []
        for span, origin in sorted(self._origins.items()):
            if span in self.here:
                continue
            asked = self._asked.get(span)
            if asked is None:
                if len(self._asked) >= WINDOW:
                    continue
                self._asked[span] = _Asked(now, self._resend)
            elif now - asked.at < asked.wait:
                continue
            else:
                asked.at, asked.wait = now, min(LONGEST, 2 * asked.wait)
            effects.append(Send(origin, Fetch(self._term, span)))
        return effects

    def take(self, sender: Member, state: HandOver, now: float) -> list[Effect]:
        """Keeps it, and asks for the next."""
        if self._origins.get(state.span) != sender or state.span in self.here:
            return []
        self.here[state.span] = state
        self._asked.pop(state.span, None)
        return self.ask(now)
