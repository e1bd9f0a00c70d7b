"""What a server makes ready while a term opens, and what it holds once the chief says Drop (protocol.md, Terms 3).

Until Drop the older holdings stay as they are, so that a chief that dies before its base stands has changed nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.effects import Effect, PartData
from deepseek_runtime.protocol.fetching import Fetching
from deepseek_runtime.protocol.neighbours import HandOver
from deepseek_runtime.protocol.server_orders import Place
from deepseek_runtime.protocol.span import Span, SpanParts
from deepseek_runtime.space import Space

BuildParts = Callable[[Space, int, int], SpanParts]
"""(space, span, length of the data set)"""


@dataclass(slots=True)
class Ready:
    """What Place made ready: own spans, and backups of the server before."""

    own: dict[int, Span] = field(default_factory=dict)
    backups: dict[int, Span] = field(default_factory=dict)
    forwards: bool = False


class Placing:
    """One Place. `order`: its id."""

    def __init__(self, order: int, term: int, body: Place, build: BuildParts, resend: float) -> None:
        self.order = order
        self.body = body
        self._term = term
        self._build = build
        self._fetching = Fetching(term, body.origins, resend)

    @property
    def wanted(self) -> tuple[int, ...]:
        return (*self.body.spans, *self.body.backups)

    def missing(self, held: Mapping[int, Span]) -> list[int]:
        """Spans that are neither here nor to be had from anybody."""
        return [index for index in self.wanted if index not in held and index not in self.body.origins]

    @property
    def complete(self) -> bool:
        return self._fetching.complete

    def ask(self, now: float) -> list[Effect]:
        return self._fetching.ask(now)

    def take(self, sender: Member, state: HandOver, now: float) -> list[Effect]:
        return self._fetching.take(sender, state, now)

    def from_servers(self, held: Mapping[int, Span]) -> Ready:
        """What was here already, and what others handed over."""
        space = Space.from_json(self.body.space) if self._fetching.here else None
        found: dict[int, Span] = {}
        for index in self.wanted:
            state = self._fetching.here.get(index)
            if state is None or space is None:
                found[index] = held[index]
            else:
                parts = self._build(space, index, self.body.samples)
                found[index] = Span.handed_over(state, parts, self._term)
        return self._ready(found)

    def from_store(self, loaded: Mapping[int, PartData]) -> Ready:
        assert self.body.source is not None
        space = Space.from_json(self.body.space)
        found = {
            index: Span.restored(
                part,
                self._build(space, index, self.body.samples),
                self.body.branch,
                self._term,
                self.body.source.weights_only,
                index in self.body.spans,
            )
            for index, part in loaded.items()
        }
        return self._ready(found)

    def _ready(self, found: Mapping[int, Span]) -> Ready:
        own = {index: found[index] for index in self.body.spans}
        backups = {index: found[index] for index in self.body.backups}
        return Ready(own, backups, self.body.forwards)
