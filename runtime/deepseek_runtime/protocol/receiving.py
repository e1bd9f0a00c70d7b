"""A server's part in the beginning of a job: it takes initial weights, and stores them as parts of step 0.

Parts of one naming only, and of the newest (protocol.md, Terms 7): an initialiser that was lost may still be heard.
"""

from dataclasses import dataclass, field

import numpy as np

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.applied import AppliedSet
from deepseek_runtime.protocol.effects import F32, Effect, PartData, Send, WriteParts
from deepseek_runtime.protocol.messages import I64, InitialPart, InitialTaken


@dataclass(slots=True)
class _Naming:
    number: int
    order: int
    """Of Receive: what the files are written for."""
    spans: tuple[int, ...]
    values: dict[int, F32] = field(default_factory=dict)
    integers: I64 | None = None
    stored: bool = False


class Receiving:
    """Of one term. `begin` by the chief's order, `take` what its initialiser sends."""

    def __init__(self, term: int = 0) -> None:
        self._term = term
        self._naming: _Naming | None = None

    def begin(self, order: int, number: int, spans: tuple[int, ...]) -> bool:
        """False: a newer naming is known."""
        if self._naming is not None and not self.newer_naming(self._naming.number, number):
            return False
        self._naming = _Naming(number, order, spans, stored=not spans)
        return True

    @staticmethod
    def newer_naming(kept: int, number: int) -> bool:
        """Terms 7: a server keeps only the newest naming."""
        return number > kept

    @staticmethod
    def same_naming(kept: int, number: int) -> bool:
        """Terms 7: parts of one naming only."""
        return kept == number

    def take(self, sender: Member, part: InitialPart) -> list[Effect]:
        """Each span's values once; all there: taken, and stored the first time."""
        naming = self._naming
        if naming is None or not self.same_naming(naming.number, part.number):
            return []
        for index, values in part.values.items():
            if index not in naming.values:
                naming.values[index] = np.array(values, np.float32)
        if part.integers is not None:
            naming.integers = np.array(part.integers, np.int64)
        if not set(naming.spans) <= set(naming.values):
            return []
        effects: list[Effect] = [Send(sender, InitialTaken(self._term, naming.number))]
        if not naming.stored:
            naming.stored = True
            parts = tuple(_first_part(naming, index) for index in naming.spans)
            effects.append(WriteParts(naming.order, self._term, 0, parts))
        return effects

    def wants(self, order: int) -> bool:
        """Of the naming that counts."""
        return self._naming is not None and self._naming.order == order


def _first_part(naming: _Naming, index: int) -> PartData:
    return PartData(
        index,
        naming.values[index],
        applied=AppliedSet(),
        skipped=set(),
        ordinal=0,
        lost=0.0,
        residuals={},
        pushed=0.0,
        integers=naming.integers if index == 0 else None,
    )
