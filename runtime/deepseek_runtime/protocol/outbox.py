"""What a worker reports to its chief: each told until it is acknowledged."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from deepseek_runtime.contract.records import TermRecord
from deepseek_runtime.protocol import term as terms
from deepseek_runtime.protocol.effects import Effect, Send
from deepseek_runtime.protocol.messages import Report


@dataclass(slots=True)
class _Told:
    report: Report
    at: float


class Outbox:
    """`heartbeat`: seconds until a report is told again."""

    def __init__(self, heartbeat: float) -> None:
        self._heartbeat = heartbeat
        self._told: dict[str, _Told] = {}

    def new_term(self, number: int) -> None:
        """What an older chief asked for is nothing to the new one; that a worker leaves is."""
        self._told = {key: told for key, told in self._told.items() if told.report.kind == "leaving"}
        for told in self._told.values():
            told.report = replace(told.report, term=number)

    def tell(self, record: TermRecord, key: str, kind: Any, body: Mapping[str, Any], now: float) -> list[Effect]:
        report = Report(record.number, key, kind, body)
        self._told[key] = _Told(report, now)
        return [Send(terms.chief(record), report)]

    def acknowledged(self, key: str) -> Report | None:
        """Returns it; None: it was acknowledged before."""
        told = self._told.pop(key, None)
        return told.report if told is not None else None

    def repeat(self, record: TermRecord, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for told in self._told.values():
            if now - told.at >= self._heartbeat:
                told.at = now
                effects.append(Send(terms.chief(record), told.report))
        return effects

    def __contains__(self, key: str) -> bool:
        return key in self._told
