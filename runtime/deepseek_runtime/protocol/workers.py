"""The chief's view of the workers: who has said hello, who is alive, what each waits for."""

from dataclasses import dataclass

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.messages import Beat, Hello


@dataclass(slots=True)
class Seen:
    hello: Hello
    last: float
    """Time of its last sign of life."""
    welcomed: bool = False
    wants: bool = False
    newest_lease: int = 0
    leaving: bool = False


class Workers:
    def __init__(self, lost_after: float) -> None:
        self._lost_after = lost_after
        self.seen: dict[Member, Seen] = {}

    def hello(self, worker: Member, hello: Hello, now: float) -> list[Member]:
        """Notes a worker. Returns older incarnations of it, which are gone, and are forgotten."""
        older = [other for other in self.seen if other.index == worker.index and other.incarnation < worker.incarnation]
        for other in older:
            del self.seen[other]
        self.seen[worker] = Seen(hello, now)
        return older

    def superseded(self, worker: Member) -> bool:
        """Whether a newer incarnation of this worker is here."""
        return any(other.index == worker.index and other.incarnation > worker.incarnation for other in self.seen)

    def beat(self, worker: Member, beat: Beat, now: float) -> Seen | None:
        seen = self.seen.get(worker)
        if seen is not None:
            seen.last = now
            seen.wants = beat.wants
            seen.newest_lease = beat.newest_lease
        return seen

    def lost(self, now: float) -> list[Member]:
        """Workers whose heartbeat has stopped (Chief 3); they are forgotten, and must say hello again."""
        gone = [worker for worker, seen in self.seen.items() if now - seen.last > self._lost_after]
        for worker in gone:
            del self.seen[worker]
        return gone

    def leave(self, worker: Member) -> None:
        self.seen.pop(worker, None)

    @property
    def live(self) -> list[Member]:
        return [worker for worker, seen in self.seen.items() if seen.welcomed]

    def waiting(self) -> list[Member]:
        """Those that want a range, in the order of their index: served in turn by each event."""
        return sorted(worker for worker, seen in self.seen.items() if seen.welcomed and seen.wants)
