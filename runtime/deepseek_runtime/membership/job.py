"""Membership: what a job's members and its operator know and write in etcd."""

import logging
from collections.abc import Callable, Sequence

from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.contract.names import Role
from deepseek_runtime.contract.records import Command, Progress, Record, Registration, Request, State, TermRecord
from deepseek_runtime.membership.connection import Connection, Entry, Unavailable, absent, exists, holds
from deepseek_runtime.membership.contents import Parser, View
from deepseek_runtime.membership.registering import Registrar
from deepseek_runtime.membership.tls import TlsFiles
from deepseek_runtime.membership.watching import Watcher

logger = logging.getLogger(__name__)

TRIES = 8
"""Attempts of a transaction whose ground moved; more means that somebody writes in a loop."""


class Membership:
    """One job's part of etcd. Methods may be called from any thread.

    Those that talk to etcd take at most a few times `call_timeout` and raise Unavailable; a write that raised it may
    have happened, and all writes can be repeated. `view`, `register` and `superseded` never block.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        keys: JobKeys,
        *,
        tls: TlsFiles | None = None,
        ttl: float = 10.0,
        call_timeout: float = 2.0,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        """`endpoints`: host:port of each etcd. `tls`: None where it is spoken to in the clear.

        `ttl`: seconds a registration outlives its member (etcd: 2 or more).
        `on_change` is called from a thread of ours whenever `view()` has changed; it must be cheap.
        """
        self._keys = keys
        self._timeout = call_timeout
        self._on_change = on_change
        self._parser = Parser(keys)
        self._connection = Connection(endpoints, call_timeout, tls)
        self._watcher = Watcher(self._connection, keys, patience=call_timeout, outage=ttl / 3, changed=self._changed)
        self._registrar = Registrar(
            self._connection, keys, ttl=ttl, tick=self._watcher.check, every=min(1.0, call_timeout / 2)
        )
        self._started = False
        self._closed = False

    def start(self) -> None:
        """Begins to list, watch and register. Calling it again does nothing."""
        if self._closed:
            raise RuntimeError("this membership was closed")
        if not self._started:
            self._started = True
            self._watcher.start()
            self._registrar.start()

    def close(self, resign: bool = True) -> None:
        """Ends the threads and the connection; with `resign` the registration goes at once, not after its ttl."""
        if self._closed:
            return
        self._closed = True
        self._watcher.close()
        self._registrar.close()
        if self._watcher.view.unknown_since is not None:
            # Nobody answers: calls under way would only end with their time-outs.
            self._connection.close()
        patience = 4 * self._timeout + 1.0
        self._registrar.join(patience)
        self._watcher.join(patience)
        if resign:
            try:
                self._registrar.resign()
            except Unavailable as error:
                logger.debug("the registration stays until its ttl ends: %s", error)
        self._connection.close()

    def view(self) -> View:
        return self._watcher.view

    def wait_listed(self, timeout: float) -> View:
        """The view once everything has been listed. Raises Unavailable after `timeout` seconds."""
        return self._watcher.wait_listed(timeout)

    def register(self, role: Role, index: int, registration: Registration) -> None:
        """Keeps `members/<role>/<index>` alive from now on; called again with another record, updates it."""
        self._registrar.register(role, index, registration)

    @property
    def superseded(self) -> bool:
        """A higher incarnation is registered in this member's seat."""
        return self._registrar.superseded

    def read_term(self) -> TermRecord | None:
        """What etcd holds now, not what was watched (protocol.md, Terms 5)."""
        return self._parser.read(TermRecord, self._connection.get(self._keys.term))

    def raise_term(self, record: TermRecord) -> bool:
        """Writes `record` if etcd holds a lower number or none (Terms 1); whether it holds exactly this one now."""
        key, value = self._keys.term, _json(record)
        entry = self._connection.get(key)
        for _ in range(TRIES):
            present = self._parser.read(TermRecord, entry)
            if present is not None and present.number >= record.number:
                return present == record
            # A value that cannot be read counts as none, and is replaced.
            done, entry = self._connection.put(key, value, [absent(key) if entry is None else holds(key, entry.value)])
            if done:
                return True
        raise Unavailable("the term changes faster than it can be compared")

    def put_state(self, state: State, term: int) -> bool:
        """Writes unless etcd holds another term than `term`: then False, and nothing is written."""
        return self._put_in_term(self._keys.state, state, term)

    def put_progress(self, progress: Progress, term: int) -> bool:
        """As put_state."""
        return self._put_in_term(self._keys.progress, progress, term)

    def put_request(self, id: str, request: Request) -> bool:
        """As put_state, with the term that the request carries."""
        return self._put_in_term(self._keys.request(id), request, request.term)

    def drop_request(self, id: str) -> bool:
        """Whether it was there."""
        return self._connection.delete(self._keys.request(id))

    def put_command(self, id: str, command: Command) -> bool:
        """Always True: the operator is the only writer."""
        return self._connection.put(self._keys.command(id), _json(command))[0]

    def drop_command(self, id: str) -> bool:
        """Whether it was there."""
        return self._connection.delete(self._keys.command(id))

    def acknowledge(self, id: str, command: Command) -> bool:
        """Replaces the command by `command`, its answer; False if the operator has dropped it meanwhile."""
        key = self._keys.command(id)
        return self._connection.put(key, _json(command), [exists(key)])[0]

    def clear(self) -> None:
        """Deletes everything of the job."""
        self._connection.delete_all(self._keys.prefix)

    def health(self) -> bool:
        """Whether etcd answers a linearizable read in time."""
        try:
            self._connection.get(self._keys.term)
        except Unavailable:
            return False
        return True

    def _put_in_term(self, key: str, record: Record, term: int) -> bool:
        """One transaction compares the whole value at `term`, so no term raised meanwhile is missed."""
        entry = self._watcher.entry(self._keys.term)
        if not self._is_term(entry, term):
            entry = self._connection.get(self._keys.term)
        value = _json(record)
        for _ in range(TRIES):
            if entry is None or not self._is_term(entry, term):
                return False
            condition = holds(self._keys.term, entry.value)
            done, entry = self._connection.put(key, value, [condition], read=self._keys.term)
            if done:
                return True
        raise Unavailable("the term changes faster than it can be compared")

    def _is_term(self, entry: Entry | None, number: int) -> bool:
        present = self._parser.read(TermRecord, entry)
        return present is not None and present.number == number

    def _changed(self, before: View, after: View) -> None:
        self._registrar.seen(before, after)
        if self._on_change is not None and after != before:
            try:
                self._on_change()
            except Exception:  # Whatever it is, the watch must not end by it.
                logger.exception("on_change failed")


def _json(record: Record) -> bytes:
    return record.model_dump_json().encode()
