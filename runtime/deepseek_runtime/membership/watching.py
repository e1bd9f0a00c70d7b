"""One loop: list everything under the prefix, watch from that revision, start again on any doubt.

Doubt is: an error, the end of the stream, another cluster or a lower revision in an answer, and silence. Silence is
noticed by `check`, which another thread calls now and then: a stream that was quiet is asked for its progress, and
cancelled when it does not answer (a paused etcd, a connection whose other end is gone).
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.membership.connection import (
    Batch,
    Compacted,
    Connection,
    Entry,
    Listing,
    Unavailable,
    WatchStream,
)
from deepseek_runtime.membership.contents import Known, Parser, View, another_history, known

logger = logging.getLogger(__name__)

RETRY = 0.2
"""Seconds between two attempts to list."""


class Watcher:
    """Keeps `view` true. `changed(before, after)` is called from its thread after all that etcd said.

    Also when both are equal: a key may have come and gone in one answer.
    """

    def __init__(
        self,
        connection: Connection,
        keys: JobKeys,
        *,
        patience: float,
        outage: float,
        changed: Callable[[View, View], None],
    ) -> None:
        """`patience`: seconds of silence that are no doubt yet. `outage`: seconds of silence that may end a lease."""
        self._connection = connection
        self._prefix = keys.prefix
        self._patience = patience
        self._outage = outage
        self._changed = changed
        self._parser = Parser(keys)
        self._known: Known | None = None
        self._view = View(unknown_since=time.monotonic())
        self._news = threading.Condition()
        self._closing = threading.Event()
        self._stream: WatchStream | None = None
        self._heard = time.monotonic()
        self._asked: float | None = None
        self._silent = False
        self._told = False
        self._thread = threading.Thread(target=self._run, name="etcd-watch", daemon=True)

    @property
    def view(self) -> View:
        return self._view

    def entry(self, key: str) -> Entry | None:
        """What etcd held at `key` when it was last heard."""
        contents = self._known
        return None if contents is None else contents.entries.get(key)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends the loop; the caller closes the connection if it may not wait for a call in it."""
        self._closing.set()
        stream = self._stream
        if stream is not None:
            stream.cancel()

    def join(self, timeout: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def wait_listed(self, timeout: float) -> View:
        with self._news:
            if not self._news.wait_for(lambda: self._view.listed_at is not None, timeout):
                raise Unavailable(f"etcd at {self._connection.endpoint} gave no listing within {timeout:g} s")
            return self._view

    def check(self) -> None:
        """Asks a quiet stream for its progress, and cancels one that owes an answer for too long."""
        stream, asked, now = self._stream, self._asked, time.monotonic()
        if stream is None or now - self._heard < self._patience / 2:
            return
        if asked is None or asked <= self._heard:
            self._asked = now
            stream.ask()
        elif now - asked > self._patience:
            self._silent = True
            stream.cancel()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._silent = False
                try:
                    self._session()
                except Unavailable as error:
                    self._lost(error)
                self._closing.wait(RETRY)
        finally:
            # Also after an error of ours: a view that nobody keeps true must not look like one.
            self._unknown()

    def _session(self) -> None:
        listing = self._connection.list(self._prefix)
        before = self._known
        self._adopt(listing, before is not None and self._emptied(before, listing))
        with self._connection.watch(self._prefix, listing.revision + 1) as stream:
            self._asked = None
            self._stream = stream
            try:
                if self._closing.is_set():
                    return
                for batch in stream:
                    self._heard = time.monotonic()
                    self._apply(batch)
            finally:
                self._stream = None

    def _emptied(self, before: Known, listing: Listing) -> bool:
        if another_history(before, listing):
            return True
        try:
            # etcd keeps some minutes of its history: does it remember what we do?
            then = self._connection.list(self._prefix, before.revision)
        except Compacted:
            return False
        return known(then).entries != before.entries

    def _adopt(self, listing: Listing, emptied: bool) -> None:
        now = time.monotonic()
        before = self._view
        first = self._known is None
        away = before.unknown_since is not None and now - self._heard > self._outage
        self._heard = now
        self._told = False
        self._known = known(listing)
        if emptied:
            logger.warning("etcd was emptied, or is another cluster: listed anew")
        self._publish(
            replace(
                self._parser.view(self._known.entries.values()),
                listed_at=now if first or emptied or away else before.listed_at,
                emptied=before.emptied + emptied,
            )
        )

    def _apply(self, batch: Batch) -> None:
        contents = self._known
        if contents is None or batch.cluster != contents.cluster or batch.revision < contents.revision:
            raise Unavailable("etcd answers for another cluster")
        if not batch.changes:
            return
        entries = dict(contents.entries)
        for change in batch.changes:
            if isinstance(change, Entry):
                entries[change.key] = change
            else:
                entries.pop(change, None)
        self._known = Known(contents.cluster, batch.newest, entries)
        self._publish(
            replace(self._parser.view(entries.values()), listed_at=self._view.listed_at, emptied=self._view.emptied)
        )

    def _lost(self, error: Unavailable) -> None:
        if self._closing.is_set():
            return
        if not self._told:
            self._told = True
            reason = f"{self._connection.endpoint} is silent" if self._silent else str(error)
            logger.warning("etcd is unavailable, trying again: %s", reason)
        self._unknown()
        if self._silent or error.silent or self._connection.alternatives:
            self._connection.renew()
        else:
            self._connection.refresh()

    def _unknown(self) -> None:
        if self._view.unknown_since is None:
            self._publish(replace(self._view, unknown_since=self._heard))

    def _publish(self, view: View) -> None:
        before = self._view
        with self._news:
            self._view = view
            self._news.notify_all()
        self._changed(before, view)
