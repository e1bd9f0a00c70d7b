"""Which range is where: free, leased, partly applied, done. The chief's book, rebuilt from the applied sets each term.

A range is done when every span has reported it, whoever computed it, however often (protocol.md, Chief 1 to 5).
"""

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deepseek_runtime.contract.names import Member
from deepseek_runtime.guard.caution import Caution
from deepseek_runtime.protocol.applied import AppliedSet
from deepseek_runtime.protocol.messages import Lease
from deepseek_runtime.protocol.server_orders import SpanState
from deepseek_runtime.ranges import RangePlan

TRIES = 3
"""Times that a range which a span has already is computed again before it is pushed with d = 0."""


@dataclass(slots=True)
class Outstanding:
    lease: Lease
    worker: Member
    ended: bool = False
    """Servers are being told; free once all have confirmed (Chief 3)."""


class Ledger:
    """`spans` is their number; `bound` the staleness bound, None for async; `publish_every`: the part of a turn of all
    workers that a pull may lack."""

    def __init__(
        self,
        term: int,
        plan: RangePlan,
        spans: int,
        bound: int | None,
        share: bool = True,
        publish_every: float = 0.0,
    ) -> None:
        self.plan = plan
        self.done = AppliedSet()
        self.skipped: set[int] = set()
        self.leases: dict[int, Outstanding] = {}
        self.steps_done = 0
        self.samples_skipped = 0
        self.caution: Caution | None = None
        """What new leases carry."""
        self.slower = 1.0
        """What their w is multiplied by."""
        self._term = term
        self._full = (1 << spans) - 1
        self._bound = bound
        self._share = share
        self._publish_every = publish_every
        self._lag = 0
        """Ranges that are done and that a pull may lack."""
        self._masks: dict[int, int] = {}
        self._missing: list[int] = []
        self._returned: list[int] = []
        self._leased: set[int] = set()
        self._tries: dict[int, int] = {}
        self._skipping: set[int] = set()
        self._next_new = 0
        self._number = 0

    # --- what the servers say ---------------------------------------------------------------------------------------

    def rebuild(self, states: Mapping[int, SpanState]) -> dict[int, tuple[int, ...]]:
        """Chief 1: from the applied sets of all spans. Returns skips to be completed: g -> spans that lack it (5)."""
        pushed: set[int] = set()
        skipped: set[int] = set()
        for state in states.values():
            skipped |= state.skipped
        for span, state in states.items():
            for g in state.applied:
                self._note(g, 1 << span)
                if g not in state.skipped:
                    pushed.add(g)
        self.skipped = skipped - pushed
        for g in self.skipped:
            if g in self.done:
                self.samples_skipped += self.plan.samples_of(g)
        self._missing = sorted(g for g in self._masks if g not in self.skipped)
        incomplete = [g for g in self.skipped if g not in self.done]
        return {g: tuple(span for span, state in states.items() if g not in state.applied) for g in incomplete}

    def report(self, g: int, spans: Iterable[int]) -> bool:
        """Spans have applied g. True when this makes it done."""
        mask = 0
        for span in spans:
            mask |= 1 << span
        return self._note(g, mask)

    def _note(self, g: int, mask: int) -> bool:
        if g in self.done or g >= self.plan.count:
            return False
        mask |= self._masks.get(g, 0)
        if not self.is_done(mask):
            if mask:  # an ended lease that no span had applied leaves no trace
                self._masks[g] = mask
            return False
        self._masks.pop(g, None)
        self._tries.pop(g, None)
        self.done.add(g)
        self.steps_done += self.plan.steps_of(g)
        for number in [number for number, held in self.leases.items() if held.lease.g == g]:
            del self.leases[number]
        self._leased.discard(g)
        return True

    def is_done(self, mask: int) -> bool:
        """Chief 1: all spans have reported it (16)."""
        return mask == self._full

    @property
    def complete(self) -> bool:
        return len(self.done) >= self.plan.count

    # --- leases -----------------------------------------------------------------------------------------------------

    def lease(self, worker: Member, live: int) -> Lease | None:
        """The next range for `worker`: missing on some span first, then returned, then new ones (Chief 2)."""
        self._lag = max(0, math.ceil(self._publish_every * live - 1e-6) - 1)
        g = self._pick()
        if g is None:
            return None
        return self._give(worker, g, len(self.done), live)

    def _pick(self) -> int | None:
        for heap in (self._missing, self._returned):
            while heap:
                g = heapq.heappop(heap)
                if self._free(g):
                    return g
        if not self.may_start_new():
            return None
        while self._next_new < self.plan.count and not (
            self._free(self._next_new) and self._next_new not in self._masks
        ):
            self._next_new += 1
        if self._next_new >= self.plan.count:
            return None
        self._next_new += 1
        return self._next_new - 1

    def _free(self, g: int) -> bool:
        return g not in self.done and g not in self._leased and g not in self._skipping

    def may_start_new(self) -> bool:
        """Chief 2: new ranges wait while the oldest outstanding lease is `bound` done ranges old by its stamp."""
        if self._bound is None or not self.leases:
            return True
        oldest = min(held.lease.stamp for held in self.leases.values())
        return len(self.done) - oldest < max(1, self._bound - self._lag)

    def _give(self, worker: Member, g: int, stamp: int, live: int) -> Lease:
        self._number += 1
        zero = self._tries.get(g, 0) >= TRIES
        lease = Lease(self._term, self._number, g, stamp, self._weight(live), zero, self.caution)
        self.leases[lease.number] = Outstanding(lease, worker)
        self._leased.add(g)
        return lease

    def _weight(self, live: int) -> float:
        """Server 2: a worker's share of one turn of all live workers; the same for all spans (7)."""
        return self.slower / max(1, live) if self._share else self.slower

    def claim(self, worker: Member, old: Lease, live: int) -> Lease | None:
        """A worker of the same branch claims its range of an older term: a new lease with the old stamp, or None."""
        if old.term >= self._term or not self._free(old.g) or old.g >= self.plan.count:
            return None
        return self._give(worker, old.g, old.stamp, live)

    def of(self, worker: Member) -> Outstanding | None:
        """The newest lease that the worker holds and that has not ended."""
        held = [o for o in self.leases.values() if o.worker == worker and not o.ended]
        return held[-1] if held else None

    def end(self, number: int) -> Outstanding | None:
        """Chief 3: it stays outstanding, but nobody finishes it any more. None if it is done or ending already."""
        held = self.leases.get(number)
        if held is None or held.ended:
            return None
        held.ended = True
        return held

    def ended(self, number: int, having: Iterable[int]) -> None:
        """All servers have confirmed the end: the range is free. `having`: spans that applied it before."""
        held = self.leases.pop(number, None)
        if held is None:
            return
        g = held.lease.g
        self._leased.discard(g)
        if self.skips(g):
            return  # what spans have is the skip, which is on its way to the others
        if not self.report(g, having) and g not in self.done:
            heapq.heappush(self._missing if g in self._masks else self._returned, g)

    # --- ranges that cannot be trained ------------------------------------------------------------------------------

    def may_skip(self, g: int) -> bool:
        """Chief 4: what any span has applied is never skipped but computed again."""
        return g not in self._masks

    def unable(self, g: int) -> bool:
        """Its lease has stayed non-finite once more. True when it will not be trained again, but pushed with d = 0."""
        self._tries[g] = self._tries.get(g, 0) + 1
        return self._tries[g] == TRIES

    def begin_skip(self, g: int) -> None:
        """Servers are being told: nobody gets it any more, whatever becomes of its lease."""
        self._skipping.add(g)

    def skips(self, g: int) -> bool:
        return g in self._skipping

    def skip(self, g: int) -> None:
        """All spans have the skip."""
        self._skipping.discard(g)
        if g not in self.done:
            self.skipped.add(g)
            self.samples_skipped += self.plan.samples_of(g)
            self._note(g, self._full)
