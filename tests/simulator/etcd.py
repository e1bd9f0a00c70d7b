"""etcd and what each member's membership makes of it: a view that lags, calls that fail, one seat a member.

Mirrors membership/: a registration under a lease of `ttl`, made anew when it is seen to be gone; `emptied` counted at
the first listing of another history; silence noticed after a time-out.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deepseek_runtime.contract.names import Role
from deepseek_runtime.contract.records import Command, Progress, Registration, Request, State, TermRecord
from deepseek_runtime.protocol.effects import Failed
from simulator.clock import Clock

TIMEOUT = 3.0
Seat = tuple[Role, int]


@dataclass(slots=True)
class Held:
    registration: Registration
    until: float


class Etcd:
    def __init__(self, clock: Clock, ttl: float, latency: tuple[float, float]) -> None:
        self.clock = clock
        self.ttl = ttl
        self.latency = latency
        self.up = True
        self.ever_finished = False
        self.generation = 0
        self.clients: list[Client] = []
        self._clear()
        clock.after(1.0, self._expire)

    def _clear(self) -> None:
        self.term: TermRecord | None = None
        self.state: State | None = None
        self.progress: Progress | None = None
        self.seats: dict[Seat, Held] = {}
        self.requests: dict[str, Request] = {}
        self.commands: dict[str, Command] = {}

    # --- what happens to it

    def stop(self) -> None:
        """Killed or paused: nobody is answered."""
        self.up = False
        for client in self.clients:
            client.connection_changed()

    def start(self, emptied: bool, keep_leases: bool = True) -> None:
        self.up = True
        if emptied:
            self.generation += 1
            self._clear()
        elif keep_leases:
            for held in self.seats.values():
                held.until = max(held.until, self.clock.now + self.ttl)
        for client in self.clients:
            client.connection_changed()

    def _expire(self) -> None:
        if self.up:
            gone = [seat for seat, held in self.seats.items() if held.until < self.clock.now]
            for seat in gone:
                self.clock.log("etcd: registration of %s %d is gone", *seat)
                del self.seats[seat]
            if gone:
                self.changed()
        self.clock.after(1.0, self._expire)

    def changed(self) -> None:
        for client in self.clients:
            client.news()

    # --- transactions

    def raise_term(self, record: TermRecord) -> bool:
        if self.term is not None and self.term.number >= record.number:
            return self.term == record
        self.clock.log("etcd: term %d servers %s", record.number, [(s.index, s.incarnation) for s in record.servers])
        self.term = record
        self.changed()
        return True

    def put_state(self, state: State, term: int) -> bool:
        if not self.may_write(term):
            return False
        self.clock.log("etcd: state %s", state)
        self.state = state
        self.ever_finished |= state.finished is not None
        self.changed()
        return True

    def may_write(self, term: int) -> bool:
        """Fenced by the term."""
        return self.term is not None and self.term.number == term

    def put_request(self, id: str, request: Request) -> bool:
        if self.may_write(request.term):
            self.requests[id] = request
            self.changed()
        return True

    def register(self, seat: Seat, registration: Registration) -> bool:
        """False: the seat is taken by a higher incarnation."""
        held = self.seats.get(seat)
        if held is not None and held.registration.incarnation > registration.incarnation:
            return False
        news = held is None or held.registration != registration
        self.seats[seat] = Held(registration, self.clock.now + self.ttl)
        if news:
            self.changed()
        return True

    def resign(self, seat: Seat, incarnation: int) -> None:
        held = self.seats.get(seat)
        if held is not None and held.registration.incarnation == incarnation:
            del self.seats[seat]
            self.changed()


class Client:
    """One member's connection. `run(do)` carries out something in its process (later, if that is paused; never, if it
    is dead); `on_view` is told of each new view."""

    def __init__(self, etcd: Etcd, name: str, run: Callable[..., None], on_view: Callable[[], None]) -> None:
        self.etcd = etcd
        self.term: TermRecord | None = None
        self.registrations: dict[Seat, Registration] = {}
        self.state: State | None = None
        self.progress: Progress | None = None
        self.requests: dict[str, Request] = {}
        self.commands: dict[str, Command] = {}
        self.unknown_since: float | None = 0.0
        self.listed_at: float | None = None
        self.silent_at: float | None = None
        self.emptied = 0
        self.superseded = False
        self.cut = False
        self.name = name
        self._generation: int | None = None
        self._run = run
        self._on_view = on_view
        self._coming = False
        self._calls: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = deque()
        self._calling = False
        self._mine: tuple[Seat, Registration] | None = None
        self._closed = False
        etcd.clients.append(self)
        self.news()

    @property
    def reachable(self) -> bool:
        return self.etcd.up and not self.cut

    def close(self) -> None:
        self._closed = True
        self.etcd.clients.remove(self)

    # --- watching

    def _lag(self) -> float:
        return self.etcd.clock.random.uniform(*self.etcd.latency)

    def news(self) -> None:
        if not self._coming:
            self._coming = True
            self.etcd.clock.after(self._lag(), self._run, self._refresh)

    def connection_changed(self) -> None:
        clock = self.etcd.clock
        if self.reachable:
            clock.after(clock.random.uniform(0.2, 1.0), self._run, self._refresh)
        else:
            clock.after(clock.random.uniform(1.0, 2.0), self._run, self._notice_silence)

    def _notice_silence(self) -> None:
        if not self.reachable and self.unknown_since is None and not self._closed:
            self.unknown_since = self.silent_at = self.etcd.clock.now

    def _refresh(self) -> None:
        self._coming = False
        etcd = self.etcd
        if self._closed or not self.reachable:
            return
        now = etcd.clock.now
        if self.unknown_since is not None and self.listed_at is not None:
            self.silent_at = now
        self.unknown_since = None
        if self._generation != etcd.generation:
            self.emptied += self._generation is not None
            self._generation = etcd.generation
            self.listed_at = now
        self.term, self.state, self.progress = etcd.term, etcd.state, etcd.progress
        self.registrations = {seat: held.registration for seat, held in etcd.seats.items()}
        self.requests, self.commands = dict(etcd.requests), dict(etcd.commands)
        if self._mine is not None and self.registrations.get(self._mine[0]) != self._mine[1]:
            self._renew_now()
        self._on_view()

    # --- registering

    def register(self, seat: Seat, registration: Registration) -> None:
        fresh = self._mine is None
        self._mine = (seat, registration)
        self._renew_now()
        if fresh:
            self._renew()

    def _renew(self) -> None:
        if self._closed:
            return
        self.etcd.clock.after(self.etcd.ttl / 3, self._run, self._renew)
        self._renew_now()

    def _renew_now(self) -> None:
        if self.reachable and self._mine is not None and not self.superseded:
            self.superseded = not self.etcd.register(*self._mine)
            if self.superseded:
                self._on_view()

    # --- calls, one at a time

    def call(self, do: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self._calls.append((do, done))
        if not self._calling:
            self._next()

    def _next(self) -> None:
        if self._closed or not self._calls:
            self._calling = False
            return
        self._calling = True
        do, done = self._calls.popleft()
        self.etcd.clock.after(self._lag(), self._execute, do, done)

    def _execute(self, do: Callable[[], Any], done: Callable[[Any], None]) -> None:
        clock = self.etcd.clock
        if not self.reachable:
            clock.after(TIMEOUT, self._answer, done, Failed("etcd", "no answer"))
            return
        result = do()
        clock.after(self._lag(), self._come_back, done, result)

    def _come_back(self, done: Callable[[Any], None], result: Any) -> None:
        if self.reachable:
            self._answer(done, result)
        else:
            self.etcd.clock.after(TIMEOUT, self._answer, done, Failed("etcd", "no answer"))

    def _answer(self, done: Callable[[Any], None], result: Any) -> None:
        self._run(self._finish, done, result)

    def _finish(self, done: Callable[[Any], None], result: Any) -> None:
        done(result)
        self._next()
