"""A bound on how often something is done, shared by threads."""

import threading
import time
from collections.abc import Callable


class Rate:
    """A token bucket: `per_second` on average, at most `burst` at once."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = self._burst
        self._at = clock()

    def reserve(self, within: float) -> float | None:
        """Takes a token; seconds until it may be used. None, and nothing taken: that is more than `within`."""
        with self._lock:
            self._refill()
            wait = max(0.0, (1.0 - self._tokens) / self._per_second)
            if wait > within:
                return None
            self._tokens -= 1.0
            return wait

    def wait(self, within: float) -> bool:
        """Waits for its turn; False, at once: it would not come within `within` seconds."""
        wait = self.reserve(within)
        if wait:
            time.sleep(wait)  # the thing itself is the time
        return wait is not None

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second)
        self._at = now
