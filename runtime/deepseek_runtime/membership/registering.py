"""A member's own key under a lease, kept through lost leases, outages and an emptied etcd.

The lease is renewed three times in its life. Whenever etcd says that it does not know the lease, or the key was seen to
be gone, both are made anew. Between two incarnations of one seat a transaction decides: the higher one stays.
"""

import logging
import math
import threading
import time
from collections.abc import Callable

from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.contract.names import Role
from deepseek_runtime.contract.records import Registration
from deepseek_runtime.membership.connection import Connection, Unavailable, absent, holds
from deepseek_runtime.membership.contents import Parser, View

logger = logging.getLogger(__name__)

RETRY = 0.25
"""Seconds until a failed renewal is tried again."""
TRIES = 8
"""Attempts to write the key while somebody else writes it too."""


class Registrar:
    """One thread: renews the lease, writes the key, and calls `tick` at least every `every` seconds."""

    def __init__(
        self, connection: Connection, keys: JobKeys, *, ttl: float, tick: Callable[[], None], every: float
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._parser = Parser(keys)
        self._ttl = ttl
        self._tick = tick
        self._every = every
        self._poke = threading.Event()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._seat: tuple[Role, int] | None = None
        self._wanted: Registration | None = None
        self._written: Registration | None = None
        self._gone = False
        self._superseded = False
        self._lease: int | None = None
        self._renew_at = 0.0
        self._thread = threading.Thread(target=self._run, name="etcd-register", daemon=True)

    @property
    def superseded(self) -> bool:
        """A higher incarnation holds our seat: nothing more is written."""
        return self._superseded

    def start(self) -> None:
        self._thread.start()

    def register(self, role: Role, index: int, registration: Registration) -> None:
        with self._lock:
            if self._seat not in (None, (role, index)):
                raise ValueError(f"a member has one seat: {self._seat} is registered already, not {(role, index)}")
            self._seat = (role, index)
            if self._wanted is None or registration.incarnation > self._wanted.incarnation:
                self._superseded = False
            self._wanted = registration
        self._poke.set()

    def seen(self, before: View, after: View) -> None:
        """Tells what the watch saw: our key gone, our seat taken, etcd listed anew."""
        with self._lock:
            seat, wanted = self._seat, self._wanted
            if seat is None or wanted is None:
                return
            has = after.registrations.get(seat)
            if has is not None and has.incarnation > wanted.incarnation:
                self._supersede(has)
            elif has is None:
                # Or not delivered yet; then it is written once more. A put and a delete may come as one change.
                self._gone = True
            elif before.unknown_since is None:
                return
            # The lease is asked for at once: after an outage or an emptying it may be gone.
            self._renew_at = 0.0
        self._poke.set()

    def close(self) -> None:
        self._closing.set()
        self._poke.set()

    def join(self, timeout: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def resign(self) -> None:
        """Ends the lease, and with it the key. After `join`. Raises Unavailable."""
        lease, self._lease = self._lease, None
        if lease is not None:
            self._connection.revoke(lease)

    def _run(self) -> None:
        told = False
        while not self._closing.is_set():
            wait = self._every
            try:
                due = self._hold()
                told = False
            except Unavailable as error:
                due = RETRY
                if not told:
                    logger.warning("the registration could not be renewed, trying again: %s", error)
                told = True
            self._tick()
            if due is not None:
                wait = min(wait, due)
            self._poke.wait(wait)
            self._poke.clear()

    def _hold(self) -> float | None:
        """One round; returns seconds until the next is due, None if nothing is registered."""
        with self._lock:
            wanted, seat, superseded = self._wanted, self._seat, self._superseded
            if self._gone:
                self._gone, self._written = False, None
        if wanted is None or seat is None:
            return None
        if superseded:
            self.resign()
            return None
        now = time.monotonic()
        if self._lease is not None and now >= self._renew_at:
            if self._connection.keep_alive(self._lease):
                self._renew_at = now + self._ttl / 3
            else:
                self._lease = None
        if self._lease is None:
            self._written = None
            self._lease = self._connection.grant(math.ceil(self._ttl))
            self._renew_at = now + self._ttl / 3
        if self._written != wanted:
            self._written = None
            try:
                self._write(seat, wanted, self._lease)
            except Unavailable:
                # The lease may be what was refused; asking for it tells.
                self._renew_at = 0.0
                raise
        return max(0.0, self._renew_at - time.monotonic())

    def _write(self, seat: tuple[Role, int], wanted: Registration, lease: int) -> None:
        key = self._keys.member(*seat)
        value = wanted.model_dump_json().encode()
        condition = absent(key)
        for _ in range(TRIES):
            done, found = self._connection.put(key, value, [condition], lease=lease)
            if done:
                self._written = wanted
                return
            there = self._parser.read(Registration, found)
            if there is not None and there.incarnation > wanted.incarnation:
                with self._lock:
                    if self._wanted is not None and there.incarnation > self._wanted.incarnation:
                        self._supersede(there)
                return
            condition = absent(key) if found is None else holds(key, found.value)
        raise Unavailable(f"{key} changes faster than it can be compared")

    def _supersede(self, by: Registration) -> None:
        if not self._superseded:
            logger.warning("this member's seat is taken by incarnation %d", by.incarnation)
            self._superseded = True
            self._poke.set()
