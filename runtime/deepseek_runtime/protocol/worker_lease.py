"""The lease that a worker holds: granted, claimed from the next chief, given up. What its heartbeat says of it."""

from deepseek_runtime.guard.caution import Held
from deepseek_runtime.protocol.messages import Beat, Lease
from deepseek_runtime.protocol.pushing import Pending


class WorkerLease:
    """At most one at a time."""

    def __init__(self) -> None:
        self.held: Lease | None = None
        self.training: Lease | None = None
        """The one that the user's thread works for."""
        self.newest = 0
        """Number of the newest one that was given in this term."""
        self.given_up = 0
        self._unable = 0
        self._reason = ""
        self._held_back: Held | None = None

    def new_term(self) -> None:
        """Numbers begin anew; what is held is claimed."""
        self.newest = 0
        self._unable = self.given_up = 0

    def discard(self) -> None:
        self.held = self.training = None

    def grant(self, lease: Lease) -> None:
        self.newest = lease.number
        self._unable = self.given_up = 0
        self.held = lease

    def note(self, lease: Lease | None) -> None:
        """A welcome carried it."""
        if lease is not None:
            self.newest = max(self.newest, lease.number)

    def welcomed_again(self, lease: Lease | None, pending: Pending | None) -> None:
        """Counted as lost between two hellos: the claim was granted a second time (15)."""
        if lease is None or lease.number <= self.newest:
            return
        if self.held is not None and self.held.g == lease.g:
            self.take_back(lease, pending)
        else:
            self.given_up = lease.number

    def take_back(self, lease: Lease | None, pending: Pending | None) -> None:
        """Worker 6: the chief's word on the claimed range. Refused: an unanswered push is still asked for, under its
        old lease, and a range in training is given up."""
        if lease is not None and pending is not None and pending.lease is not None:
            pending.lease = lease
        if lease is not None and self.training is not None:
            self.training = lease
        if lease is None:
            self.training = None
        self.held = lease

    def trained(self) -> Lease | None:
        """The user's thread is done with its range: under which lease; None if that was given up meanwhile."""
        lease, self.training = self.training, None
        return lease if self.held is not None else None

    def answered_stale(self) -> None:
        """Worker 5: given up; said to the chief, which may have given it anew before it heard of the stale answer."""
        if self.held is not None:
            self.given_up = self.held.number

    def give_back(self, lease: Lease, reason: str, held: Held | None) -> None:
        """Worker 8: reported, and let go. held: None when it stays non-finite."""
        self._unable, self._reason, self._held_back = lease.number, reason, held
        self.held = None

    def beat(self, term: int, wants: bool, trained_ranges: int) -> Beat:
        unable = self._unable
        held = self._held_back if unable else None
        return Beat(term, wants, self.newest, unable, self.given_up, self._reason, trained_ranges, held)
