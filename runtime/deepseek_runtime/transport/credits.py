"""Credit-based flow: the receiver says how many it will take, the sender never has more under way.

ZeroMQ's ROUTER drops what does not fit into a peer's queue (of 400 chunks to a busy worker 40 arrived), and a
blocking send would let one slow peer stop all. With credits no queue of ZeroMQ's is ever full: what a stopped peer
has not taken waits here, for its own account. Counts are totals since the connection opened, so a repeated or late
grant does no harm.
"""


class Allowance:
    """The sender's side of a lane: how many of its frames the peer will still take."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._used = 0
        self._granted = window

    @property
    def open(self) -> bool:
        return self._used < self._granted

    def use(self) -> None:
        self._used += 1

    def grant(self, total: int) -> bool:
        """Takes a grant; False when it is more than a peer that counts rightly can give."""
        if total > self._used + self._window:
            return False
        self._granted = max(self._granted, total)
        return True


class Intake:
    """The receiver's side of a lane: what was taken and what was granted."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._taken = 0
        self.granted = window

    def take(self) -> bool:
        """Counts one frame; False when the peer was not allowed to send it."""
        self._taken += 1
        return self._taken <= self.granted

    def renew(self) -> bool:
        """Grants the next frames once half the window is used up; whether there is something to tell the peer."""
        if self.granted - self._taken > self._window // 2:
            return False
        self.granted = self._taken + self._window
        return True
