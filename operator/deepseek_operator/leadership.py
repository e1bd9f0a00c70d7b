"""Which replica acts: the holder of a Lease.

The holder renews it every RETRY seconds and stops acting RENEW seconds after the beginning of its last renewal that
went through. The others take it when they have seen it unchanged for DURATION seconds, longer than RENEW, on their own
clock: the times in the Lease are for people. So at no time do two act, whatever their clocks say, and a write that was
begun in time is bounded by what is left (`fence`). Time is CLOCK_BOOTTIME: it goes on while the machine sleeps.

Whoever loses the Lease ends: nothing of what it knew may be acted on later.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from deepseek_operator.kube import LEASES, Api, ApiError, Conflict, NotLeading, Object

logger = logging.getLogger(__name__)

DURATION = 10.0
RENEW = 7.0
RETRY = 2.0


def boottime() -> float:
    """Seconds since the machine was started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds. retry < renew < duration."""

    duration: float = DURATION
    renew: float = RENEW
    retry: float = RETRY


class Leadership:
    """One replica's. `api` is one without a fence: how long its calls may take is decided here.

    began, lost: called once each, from this thread.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        *,
        began: Callable[[], None],
        lost: Callable[[str], None],
        terms: Terms = Terms(),
        clock: Callable[[], float] = boottime,
    ) -> None:
        self._api = api
        self._namespace, self._name = namespace, name
        self._identity = identity
        self._began, self._lost = began, lost
        self._terms = terms
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leadership", daemon=True)
        self._until = 0.0
        """Until when we lead; 0: we do not."""
        self._lease: Object | None = None
        """As we last wrote it."""
        self._seen: tuple[object, ...] = ()
        self._seen_at = 0.0
        self.beat = time.monotonic()
        """When this thread last went round."""

    def start(self) -> None:
        self._thread.start()

    def fence(self) -> float:
        """Seconds for which a write may still be sent. Raises NotLeading when there are none."""
        left = self._until - self._clock()
        if left <= 0:
            raise NotLeading("this replica does not lead")
        return left

    def valid(self) -> bool:
        return self._until > self._clock()

    def stop(self) -> None:
        """Ends it and gives the Lease back, so that another replica need not wait. Takes at most a few seconds."""
        self._stop.set()
        self._thread.join(self._terms.renew)
        held, leads = self._lease, self.valid()
        self._until = 0.0
        if held is not None and leads:
            spec = held["spec"] | {"holderIdentity": "", "leaseDurationSeconds": 1}
            try:
                self._api.within(self._terms.retry).replace(LEASES, self._namespace, held | {"spec": spec})
                logger.info("leadership given back")
            except ApiError as error:
                logger.warning("leadership ends by itself, it could not be given back: %s", error)

    def _run(self) -> None:
        leading = False
        while not self._stop.is_set():
            self.beat = time.monotonic()
            try:
                if leading:
                    self._renew()
                elif self._take():
                    leading = True
                    logger.info("this replica (%s) leads", self._identity)
                    self._began()
            except ApiError as error:
                logger.warning("the Lease %s/%s: %s", self._namespace, self._name, error)
            if leading and not self.valid():
                self._lost(f"the Lease {self._namespace}/{self._name} could not be renewed in time")
                return
            if leading and self._lease is None:
                self._until = 0.0
                self._lost(f"another replica holds the Lease {self._namespace}/{self._name}")
                return
            self._stop.wait(self._terms.retry)

    def _renew(self) -> None:
        """Conflict: somebody else wrote it. Whether it is still ours is read; only a free or lost one is not."""
        held = self._lease
        assert held is not None
        at = self._clock()
        api = self._api.within(self._until - at)
        try:
            self._lease = api.replace(LEASES, self._namespace, held | {"spec": self._spec(held)})
            self._until = at + self._terms.renew
        except Conflict:
            now = self._api.within(self._until - self._clock()).get(LEASES, self._namespace, self._name)
            # A label or annotation may have been set by hand; then the next renewal uses what is there now.
            self._lease = now if now is not None and holder(now) == self._identity else None

    def _take(self) -> bool:
        at = self._clock()
        api = self._api.within(self._terms.renew)
        found = api.get(LEASES, self._namespace, self._name)
        if found is None:
            new: Object = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": self._spec(None),
            }
            return self._hold(lambda: api.create(LEASES, self._namespace, new), at)
        if not self._free(found):
            return False
        taken = found | {"spec": self._spec(found)}
        return self._hold(lambda: api.replace(LEASES, self._namespace, taken), at)

    def _hold(self, write: Callable[[], Object], at: float) -> bool:
        try:
            self._lease = write()
        except Conflict:
            logger.info("another replica was faster")
            return False
        self._until = at + self._terms.renew
        return self.valid()

    def _free(self, lease: Object) -> bool:
        """Nobody holds it, we did (in the process before this one, of the same pod), or it has stood still."""
        who = holder(lease)
        if not who or who == self._identity:
            return True
        spec = lease.get("spec") or {}
        seen = (who, spec.get("renewTime"), spec.get("leaseTransitions"), lease["metadata"].get("resourceVersion"))
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._clock()
        # As long as whoever holds it says, if that is longer: it may be another version's.
        return self._clock() - self._seen_at >= max(self._terms.duration, float(spec.get("leaseDurationSeconds") or 0))

    def _spec(self, before: Object | None) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        old = (before or {}).get("spec") or {}
        same = before is not None and holder(before) == self._identity
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._terms.duration)),
            "acquireTime": old.get("acquireTime", now) if same else now,
            "renewTime": now,
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if same or before is None else 1),
        }


def holder(lease: Object) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")
