"""Who gets which range, from the opening of a term on: grants and claims, ends, skips. The books are in ledger.py."""

from collections.abc import Mapping

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.effects import Effect, Note, Send
from deepseek_runtime.protocol.guarding import Guarding
from deepseek_runtime.protocol.ledger import Ledger
from deepseek_runtime.protocol.messages import Beat, Grant, Hello, Lease
from deepseek_runtime.protocol.orders import Orders
from deepseek_runtime.protocol.server_orders import Done, EndLease, Skip, SpanState
from deepseek_runtime.protocol.skips import SkipsInARow
from deepseek_runtime.protocol.workers import Workers


class Leasing:
    """`branch` and `spans` (their number) are the opened term's."""

    def __init__(
        self,
        term: int,
        branch: int,
        spans: int,
        servers: tuple[Member, ...],
        ledger: Ledger,
        orders: Orders,
        workers: Workers,
        guarding: Guarding,
    ) -> None:
        self.ledger = ledger
        self.skips = SkipsInARow(ledger.plan)
        self._term = term
        self._branch = branch
        self._spans = tuple(range(spans))
        self._servers = servers
        self._orders = orders
        self._workers = workers
        self._guarding = guarding

    def start(self, states: Mapping[int, SpanState], now: float) -> list[Effect]:
        """Chief 1 and 5: rebuilt from the applied sets; a skip that only some spans have is completed."""
        effects: list[Effect] = []
        for g, spans in self.ledger.rebuild(states).items():
            effects += self._skip(g, spans, now)
        return effects

    # --- grants -----------------------------------------------------------------------------------------------------

    def at_hello(self, worker: Member, hello: Hello, now: float) -> tuple[Lease | None, list[Effect]]:
        """The lease that a welcome carries: the one that it claims. One that it does not know of ends."""
        held = self.ledger.of(worker)
        claim = hello.claim if self.may_claim(hello) else None
        if held is not None and claim is not None and held.lease.g == claim.g:
            return held.lease, []
        if held is not None:
            return None, self._end(held.lease.number, now)
        if claim is not None:
            return self.ledger.claim(worker, claim, len(self._workers.live)), []
        return None, []

    def may_claim(self, hello: Hello) -> bool:
        """Worker 6: only a worker of the same branch claims its old lease."""
        return hello.branch == self._branch and hello.claim is not None

    def may_lease(self, worker: Member) -> bool:
        """Worker 1: one at a time; the next lease waits until all spans have reported the last range."""
        return self.ledger.of(worker) is None

    def grant(self, worker: Member) -> list[Effect]:
        """A range for an idle worker, if there is one."""
        if self.skips.given_up or not self.may_lease(worker):
            return []
        self.ledger.caution, self.ledger.slower = self._guarding.caution, self._guarding.slower
        lease = self.ledger.lease(worker, len(self._workers.live))
        return [Send(worker, Grant(self._term, lease))] if lease is not None else []

    # --- heartbeats -------------------------------------------------------------------------------------------------

    def on_beat(self, worker: Member, beat: Beat, now: float) -> list[Effect]:
        """What it says of its lease; a grant that it has not heard of is given again (15)."""
        held = self.ledger.of(worker)
        if held is None:
            return []
        lease = held.lease
        if beat.given_up == lease.number:
            return self._end(lease.number, now)
        if beat.unable == lease.number:
            return self._on_unable(lease.number, lease.g, beat, now)
        if lease.number > beat.newest_lease and beat.wants:
            return [Send(worker, Grant(self._term, lease))]
        return []

    def _on_unable(self, number: int, g: int, beat: Beat, now: float) -> list[Effect]:
        """Worker 8, Chief 4: skipped, or computed again if a span has it, or if more precision may help."""
        ledger, reason = self.ledger, beat.reason
        if ledger.skips(g):
            return []
        effects: list[Effect] = []
        again = False
        if beat.held is not None:
            again, effects = self._guarding.held(g, beat.held, reason)
        else:
            effects = self._guarding.non_finite(g, reason)
        if not ledger.may_skip(g):
            if ledger.unable(g):
                text = f"range {g} cannot be trained, and spans have it already: the others get no difference of it"
                effects.append(Note("RangeZeroed", f"{text} ({reason})", True))
            return [*effects, *self._end(number, now)]
        if again:
            return [*effects, *self._end(number, now)]
        note = Note("RangeSkipped", f"range {g} ({ledger.plan.samples_of(g)} samples): {reason}", True)
        effects = [*effects, note, *self._skip(g, self._spans, now)]
        # The guard has its own end of a row: what is held back is finite.
        if beat.held is not None or self._guarding.going_back:
            return effects
        return [*effects, *self.skips.skipped(g, reason)]

    def _skip(self, g: int, spans: tuple[int, ...], now: float) -> list[Effect]:
        self.ledger.begin_skip(g)

        def skipped(done: dict[Member, Done], now: float) -> list[Effect]:
            self.ledger.skip(g)
            return []

        return self._orders.to_all(self._servers, Skip(g, spans), skipped, now)

    # --- ends -------------------------------------------------------------------------------------------------------

    def on_lost(self, worker: Member, now: float) -> list[Effect]:
        """Chief 3: whatever it holds ends."""
        effects: list[Effect] = []
        for held in [held for held in self.ledger.leases.values() if held.worker == worker]:
            effects += self._end(held.lease.number, now)
        return effects

    def _end(self, number: int, now: float) -> list[Effect]:
        """Chief 3: every server is told; the range is free when all have confirmed (4)."""
        held = self.ledger.end(number)
        if held is None:
            return []

        def ended(done: dict[Member, Done], now: float) -> list[Effect]:
            self.ledger.ended(number, {span for answer in done.values() for span in answer.having})
            return []

        return self._orders.to_all(self._servers, EndLease(number, held.lease.g), ended, now)
