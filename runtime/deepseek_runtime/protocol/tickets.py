"""Work for one worker beside ranges: evaluate, or save the optimizer's moments. Given again when its worker is lost."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.messages import Ask


@dataclass(slots=True)
class _Given:
    ask: Ask
    worker: Member | None
    since: float


class Tickets:
    """At most one worker at a time holds a ticket; a ticket is closed by its report or by giving it up."""

    def __init__(self) -> None:
        self._open: dict[str, _Given] = {}

    def add(self, ask: Ask, now: float) -> None:
        self._open.setdefault(ask.key, _Given(ask, None, now))

    def next_for(self, worker: Member) -> Ask | None:
        """The worker is idle: the ticket that it already holds (its ask was lost), or one that nobody holds."""
        for given in self._open.values():
            if given.worker == worker:
                return replace(given.ask)
        for given in self._open.values():
            if given.worker is None:
                given.worker = worker
                return given.ask
        return None

    def close(self, key: str) -> bool:
        """False if it was closed before: a repeated report."""
        return self._open.pop(key, None) is not None

    def lost(self, workers: Iterable[Member]) -> None:
        gone = set(workers)
        for given in self._open.values():
            if given.worker in gone:
                given.worker = None

    def overdue(self, kind: str, seconds: float, now: float) -> list[str]:
        return [k for k, given in self._open.items() if given.ask.kind == kind and now - given.since > seconds]

    def __contains__(self, key: str) -> bool:
        return key in self._open
