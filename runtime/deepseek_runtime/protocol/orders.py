"""Orders of the chief to servers: told again until confirmed, in any order, however often."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.effects import Effect, Send
from deepseek_runtime.protocol.server_orders import Done, Order, OrderBody

Confirmed = Callable[[dict[Member, Done], float], list[Effect]]


@dataclass(slots=True)
class _Pending:
    bodies: dict[Member, Order]
    done: dict[Member, Done]
    confirmed: Confirmed


class Orders:
    """Each order has one id for all servers it goes to; `confirmed` runs once, when the last has answered."""

    def __init__(self, term: int, resend: float) -> None:
        self._term = term
        self._resend = resend
        self._next = 1
        self._pending: dict[int, _Pending] = {}
        self._sent_at = 0.0

    def give(self, bodies: dict[Member, OrderBody], confirmed: Confirmed, now: float) -> list[Effect]:
        """Sends each server its body; returns the first sends."""
        if not bodies:
            return confirmed({}, now)
        id = self._next
        self._next += 1
        orders = {server: Order(self._term, id, body) for server, body in bodies.items()}
        self._pending[id] = _Pending(orders, {}, confirmed)
        return [Send(server, order) for server, order in orders.items()]

    def to_all(self, servers: Iterable[Member], body: OrderBody, confirmed: Confirmed, now: float) -> list[Effect]:
        return self.give(dict.fromkeys(servers, body), confirmed, now)

    def on_done(self, sender: Member, done: Done, now: float) -> list[Effect]:
        pending = self._pending.get(done.id)
        if pending is None or sender not in pending.bodies:
            return []
        pending.done[sender] = done
        if len(pending.done) < len(pending.bodies):
            return []
        del self._pending[done.id]
        return pending.confirmed(pending.done, now)

    def on_joined(self, server: Member) -> list[Effect]:
        """A server has (re)connected: what it has not confirmed is said again at once."""
        return [
            Send(server, pending.bodies[server])
            for pending in self._pending.values()
            if server in pending.bodies and server not in pending.done
        ]

    def on_tick(self, now: float) -> list[Effect]:
        if now - self._sent_at < self._resend:
            return []
        self._sent_at = now
        return [
            Send(server, order)
            for pending in self._pending.values()
            for server, order in pending.bodies.items()
            if server not in pending.done
        ]

    def cancel(self) -> None:
        """Forget all that is not confirmed: another naming of an initialiser begins."""
        self._pending.clear()
