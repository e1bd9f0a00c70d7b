"""A worker's published copy x: each span at a version, brought up to date by one pull at a time."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression import SpanCodec
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import TermRecord
from deepseek_runtime.protocol import term as terms
from deepseek_runtime.protocol.effects import Effect, Send
from deepseek_runtime.protocol.messages import I64, Published, Pull, Version
from deepseek_runtime.protocol.span import apply_update
from deepseek_runtime.space import Space, zeros

F32 = npt.NDArray[np.float32]


class Pulling:
    """`resend`: seconds after which servers are asked again for what they have not answered; `room` makes the copy's
    vector.

    A server answers in one message or in several, each with some spans; each span counts once a pull.
    """

    def __init__(self, resend: float, room: Callable[[int], F32] = zeros) -> None:
        self._room = room
        self.x: F32 = np.zeros(0, np.float32)
        self.integers: I64 | None = None
        self.versions: dict[int, Version | None] = {}
        """By span; None: no copy of it yet."""
        self._resend = resend
        self._space: Space | None = None
        self._codecs: Sequence[SpanCodec] = ()
        self._number = 0
        self._awaited: dict[Member, set[int]] = {}
        """Spans, by server."""
        self._asked_at = 0.0

    def adopt(self, space: Space, codecs: Sequence[SpanCodec]) -> None:
        """Another branch: nothing of the copy counts any more."""
        self._space, self._codecs = space, codecs
        self.x = self._room(space.size)
        self.versions = dict.fromkeys(range(len(space.spans)))
        self.integers = None

    @property
    def under_way(self) -> bool:
        return bool(self._awaited)

    def stop(self) -> None:
        self._awaited.clear()

    def start(self, record: TermRecord, branch: int, now: float) -> list[Effect]:
        """Worker 2: what was published since our versions."""
        self._number += 1
        assert self._space is not None
        hosted = {server: terms.hosted(record, server, len(self._space.spans)) for server in terms.servers(record)}
        self._awaited = {server: set(spans) for server, spans in hosted.items() if spans}
        return self._ask(record, branch, now)

    def repeat(self, record: TermRecord, branch: int, now: float) -> list[Effect]:
        """Those that have not answered for a while."""
        if not self._awaited or now - self._asked_at < self._resend:
            return []
        return self._ask(record, branch, now)

    def _ask(self, record: TermRecord, branch: int, now: float) -> list[Effect]:
        self._asked_at = now
        effects: list[Effect] = []
        for server, spans in sorted(self._awaited.items()):
            versions = {span: self.versions[span] for span in sorted(spans)}
            effects.append(Send(server, Pull(record.number, branch, self._number, versions)))
        return effects

    def take(self, sender: Member, published: Published, branch: int) -> bool:
        """Adds it to x. True: it was the last one, x is complete."""
        awaited = self._awaited.get(sender)
        if published.number != self._number or awaited is None or published.branch != branch:
            return False
        assert self._space is not None
        if published.integers is not None and 0 in awaited:
            self.integers = np.array(published.integers, np.int64)
        for index, update in published.updates.items():
            if index not in awaited:
                continue  # a second answer to the same question: it would be added twice
            span = self._space.spans[index]
            apply_update(self._codecs[index], update, self.x[span.start : span.stop])
            self.versions[index] = update.version
            awaited.discard(index)
        if not awaited:
            del self._awaited[sender]
        return not self._awaited
