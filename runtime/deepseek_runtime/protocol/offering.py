"""Initial weights, at the worker that a term's chief has named its initialiser (protocol.md, Terms 7)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import TermRecord
from deepseek_runtime.protocol import term as terms
from deepseek_runtime.protocol.effects import Effect, Send
from deepseek_runtime.protocol.files import FileRef
from deepseek_runtime.protocol.messages import I64, InitialPart
from deepseek_runtime.space import Space

F32 = npt.NDArray[np.float32]


class Offering:
    """`samples`: length of the data set."""

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._naming = 0
        self._initial: tuple[Space, F32, I64] | None = None
        self._taken: set[Member] = set()

    def new_term(self) -> None:
        self._naming = 0
        self._taken.clear()

    def named(self, number: int) -> bool:
        """Terms 7: each naming has a number. False: an older one, or one that is known."""
        if number <= self._naming:
            return False
        self._naming, self._initial = number, None
        self._taken.clear()
        return True

    def offer(
        self,
        number: int,
        space: Space,
        values: F32,
        integers: I64,
        fixed: FileRef | None,
        tied: Mapping[str, str],
    ) -> dict[str, Any] | None:
        """The user's thread has built the initial model: what the chief is told of it. None: named anew meanwhile."""
        if number != self._naming:
            return None
        self._initial = (space, values, integers)
        reference = {"path": fixed.path, "sha256": fixed.sha256, "size": fixed.size} if fixed is not None else None
        return {
            "number": number,
            "space": space.to_json(),
            "samples": self._samples,
            "fixed": reference,
            "tied": dict(tied),
        }

    def taken(self, server: Member, number: int) -> None:
        """A server has all that it hosts."""
        if number == self._naming:
            self._taken.add(server)

    def send(self, record: TermRecord, number: int) -> list[Effect]:
        """To each server that has not said that it has its spans."""
        if number != self._naming or self._initial is None:
            return []
        space, values, integers = self._initial
        effects: list[Effect] = []
        for server in terms.servers(record):
            spans = terms.hosted(record, server, len(space.spans))
            if server in self._taken or not spans:
                continue
            part = {index: values[space.spans[index].start : space.spans[index].stop] for index in spans}
            effects.append(Send(server, InitialPart(record.number, number, part, integers if 0 in spans else None)))
        return effects
