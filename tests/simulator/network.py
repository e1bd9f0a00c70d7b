"""Links between members: in order within a link, random latency, cut and healed; what is under way at a cut is lost."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol import encoding
from deepseek_runtime.protocol.messages import Message
from deepseek_runtime.protocol.neighbours import HandOver
from simulator.clock import Clock

Verdict = Literal["pass", "hold", "drop"]
Deliver = Callable[[Member, Member, Message], None]


class Network:
    """`judge`, if set, decides on each message; what it holds is delivered by `release`, in order."""

    def __init__(self, clock: Clock, deliver: Deliver, latency: tuple[float, float], encoded: bool) -> None:
        self.judge: Callable[[Member, Member, Message], Verdict] | None = None
        self.sent: Callable[[Message], None] | None = None
        self.held: list[tuple[Member, Member, Message]] = []
        self._clock = clock
        self._deliver = deliver
        self._latency = latency
        self._encoded = encoded
        self._cut: dict[frozenset[Member], int] = {}
        self._epochs: dict[frozenset[Member], int] = {}
        self._last: dict[tuple[Member, Member], float] = {}

    def send(self, sender: Member, to: Member, message: Message) -> None:
        clock = self._clock
        if self.sent is not None:
            self.sent(message)
        verdict = self.judge(sender, to, message) if self.judge is not None else "pass"
        if clock.lines is not None:
            clock.log("%s -> %s %s%s", sender, to, short(message), "" if verdict == "pass" else f" [{verdict}]")
        if verdict == "hold":
            self.held.append((sender, to, message))
        elif verdict == "pass":
            self._pass(sender, to, message)

    def _pass(self, sender: Member, to: Member, message: Message) -> None:
        link = frozenset((sender, to))
        if self._cut.get(link):
            return
        if self._encoded:
            message = through_the_wire(message)
        low, high = self._latency
        clock = self._clock
        at = max(clock.now + clock.random.uniform(low, high), self._last.get((sender, to), 0.0))
        self._last[(sender, to)] = at
        clock.at(at, self._arrive, sender, to, message, link, self._epochs.get(link, 0))

    def _arrive(self, sender: Member, to: Member, message: Message, link: frozenset[Member], epoch: int) -> None:
        if self._epochs.get(link, 0) == epoch:
            self._deliver(sender, to, message)

    def release(self, which: Callable[[Member, Member, Message], bool] = lambda sender, to, message: True) -> int:
        """Sends what was held, oldest first; returns how many."""
        going = [one for one in self.held if which(*one)]
        self.held = [one for one in self.held if not which(*one)]
        for one in going:
            self._pass(*one)
        return len(going)

    def cut(self, one: Member, other: Member) -> None:
        link = frozenset((one, other))
        self._cut[link] = self._cut.get(link, 0) + 1
        self._epochs[link] = self._epochs.get(link, 0) + 1

    def heal(self, one: Member, other: Member) -> None:
        link = frozenset((one, other))
        self._cut[link] = max(0, self._cut.get(link, 0) - 1)


def through_the_wire(message: Message) -> Message:
    """Encoded and decoded. The books of a span that is handed over are no vectors: they go beside."""
    if not isinstance(message, HandOver):
        return encoding.decode(encoding.encode(message))
    decoded = encoding.decode(encoding.encode(replace(message, extra={})))
    assert isinstance(decoded, HandOver)
    return replace(decoded, extra=message.extra)


def short(message: object) -> str:
    """A message in the log: vectors left out."""
    text = repr(message)
    return text if len(text) < 220 else text[:220] + "..."
