"""Calls to store and etcd, off the loop: each has a thread; results come back through a queue and wake the post."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from deepseek_runtime.checkpoint import choose
from deepseek_runtime.checkpoint.index import Index, PartRef, StoredFile, write_base, write_index
from deepseek_runtime.checkpoint.spans import write_spans
from deepseek_runtime.checkpoint.store import Store, StoreError, open_store
from deepseek_runtime.checkpoint.writer import Writer
from deepseek_runtime.contract.config import JobConfig
from deepseek_runtime.contract.names import Member
from deepseek_runtime.edge.finding import find, load_parts
from deepseek_runtime.edge.kept_journal import KeptJournal, Piece
from deepseek_runtime.membership import Membership, Unavailable
from deepseek_runtime.protocol.effects import (
    Call,
    Clean,
    Failed,
    FindCheckpoint,
    ListWorkers,
    LoadParts,
    ReadTerm,
    WriteBase,
    WriteIndex,
    WriteParts,
    WriteState,
)
from deepseek_runtime.protocol.files import FileRef
from deepseek_runtime.protocol.lineage import Base, Step
from deepseek_runtime.protocol.settings import settings_of

logger = logging.getLogger(__name__)
WAITING = 64


class Etcd:
    """One thread for calls that wait for etcd, in the order given."""

    def __init__(self, membership: Membership, done: Callable[[Any, Any], None], grace: float) -> None:
        self._membership = membership
        self._done = done
        self._grace = grace
        self._silent_at: float | None = None
        self._queue: queue.Queue[tuple[Any, Callable[[], Any]] | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="etcd-calls", daemon=True)
        self._thread.start()

    def call(self, call: ReadTerm | WriteState | ListWorkers) -> None:
        if isinstance(call, ReadTerm):
            self.submit(call, self._membership.read_term)
        elif isinstance(call, WriteState):
            self.submit(call, lambda: self._membership.put_state(call.state, call.term))
        else:
            self.submit(call, self._workers)

    def submit(self, call: Any, do: Callable[[], Any]) -> bool:
        """False when too much waits already: the caller comes again by its own clock."""
        try:
            self._queue.put_nowait((call, do))
        except queue.Full:
            self._done(call, Failed("etcd", "too many calls wait for etcd"))
            return False
        return True

    def observe(self) -> None:
        """Notes silence: a listing counts only when etcd has been there for `grace` seconds (protocol.md, End)."""
        if self._membership.view().unknown_since is not None:
            self._silent_at = time.monotonic()

    def _workers(self) -> tuple[Member, ...] | Failed:
        self._membership.read_term()  # etcd answers now
        view = self._membership.view()
        listed = view.listed_at if view.emptied and view.listed_at is not None else None
        for since in (self._silent_at, listed):
            if since is not None and time.monotonic() - since < self._grace:
                return Failed("etcd", "etcd has been back for too short a time")
        return tuple(
            Member(role, index, registration.incarnation)
            for (role, index), registration in view.registrations.items()
            if role == "worker"
        )

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            call, do = item
            try:
                result = do()
            except Unavailable as error:
                result = Failed("etcd", str(error))
            self._done(call, result)

    def close(self, timeout: float) -> None:
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)


class Storage:
    """The job's checkpoint store, on the writer's thread. Opened on that thread, so a dead store stops nobody."""

    def __init__(
        self,
        config: JobConfig,
        done: Callable[[Any, Any], None],
        journal: KeptJournal | None = None,
        measured: KeptJournal | None = None,
    ) -> None:
        """journal: what is stored with every part; measured: too, but no checkpoint fails for it."""
        self._config = config
        self._journal = journal
        self._measured = measured
        self._done = done
        self._writer: Writer | None = None
        self._opening = threading.Lock()

    def call(self, call: Call) -> None:
        try:
            writer = self._open()
        except StoreError as error:
            self._done(call, Failed(error.kind, f"checkpoint.storage: {error.message}"))
            return
        do: Callable[[Store], Any]
        if isinstance(call, WriteParts):
            # Read now: it has every push that the parts have.
            kept, measured = _piece(self._journal), _piece(self._measured)
            do = partial(_write_parts, call=call, done={}, kept=kept, measured=measured)
        elif isinstance(call, LoadParts):
            do = lambda store: load_parts(self._config, store, call)  # noqa: E731
        elif isinstance(call, FindCheckpoint):
            do = lambda store: find(self._config, store, call)  # noqa: E731
        elif isinstance(call, WriteIndex):
            do = lambda store: _write_index(self._config, store, call)  # noqa: E731
        elif isinstance(call, WriteBase):
            do = lambda store: write_base(store, call.term, _base(call))  # noqa: E731
        elif isinstance(call, Clean):
            do = lambda store: _clean(store, call.term, self._config.checkpoint.keep)  # noqa: E731
        else:
            raise TypeError(f"not a call to the store: {call}")
        # A term that waits for its beginning is told at once how it stands; the chief tries again by itself.
        tries = 1 if isinstance(call, FindCheckpoint) else None
        if not writer.submit(do, lambda result: self._done(call, _result(result)), tries):
            self._done(call, Failed("unreachable", "the store is too slow: too much waits for it"))

    def submit(self, call: Any, do: Callable[[Store], Any]) -> None:
        """Something else to be done with the store, once."""
        try:
            taken = self._open().submit(do, lambda result: self._done(call, _result(result)), 1)
        except StoreError as error:
            self._done(call, Failed(error.kind, error.message))
            return
        if not taken:
            self._done(call, Failed("unreachable", "the store is too slow: too much waits for it"))

    def keep_rest(self) -> None:
        """What the store does not have of the journals, when their server leaves."""
        for kept in (_piece(self._journal), _piece(self._measured)):
            if kept is not None and self._writer is not None:
                self._writer.submit(partial(_keep, kept=kept), lambda result: None, 1)

    def keep_measured(self, call: Any) -> bool:
        """Stores what was measured since the last time; False: nothing. `call` is told when that is done."""
        kept = _piece(self._measured)
        if kept is None:
            return False
        self.submit(call, partial(_keep, kept=kept))
        return True

    def _open(self) -> Writer:
        with self._opening:
            if self._writer is None:
                checkpoint = self._config.checkpoint
                # Few tries: the machines above repeat with their own back-off, and say so.
                self._writer = Writer(open_store(checkpoint.uri, checkpoint.storage_options), waiting=16, tries=3)
            return self._writer

    def close(self, timeout: float) -> None:
        if self._writer is not None:
            self._writer.close(timeout)
            self._writer.store.close()


def _result(result: Any) -> Any:
    return Failed(result.kind, result.message) if isinstance(result, StoreError) else result


Kept = tuple[KeptJournal, Piece]


def _piece(journal: KeptJournal | None) -> Kept | None:
    piece = journal.piece() if journal is not None else None
    return None if journal is None or piece is None else (journal, piece)


def _keep(store: Store, kept: Kept) -> None:
    journal, piece = kept
    journal.store(store, piece)


def _write_parts(
    store: Store, call: WriteParts, done: dict[int, FileRef], kept: Kept | None = None, measured: Kept | None = None
) -> dict[int, FileRef]:
    """`done`: what an earlier try has written."""
    write_spans(store, call.term, call.step, call.parts, done)
    if kept is not None:
        _keep(store, kept)
    if measured is not None:
        try:
            _keep(store, measured)
        except StoreError as error:
            logger.warning("measurements are stored with the next checkpoint: %s", error)
    return done


def _clean(store: Store, term: int, keep: int) -> None:
    choose.clean(store, term, keep)


def _base(call: WriteBase) -> Base:
    if call.restored is not None:
        return Base(restored=Step(*call.restored))
    return Base(continues=call.continues)


def _write_index(config: JobConfig, store: Store, call: WriteIndex) -> None:
    training = config.training
    index = Index(
        job=config.job,
        term=call.term,
        step=call.step,
        parent=Step(*call.parent) if call.parent is not None else None,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        space=dict(call.space),
        parts=tuple(PartRef(span=span, **_fields(ref)) for span, ref in sorted(call.parts.items())),
        fixed=StoredFile.of(call.fixed) if call.fixed else None,
        moments=StoredFile.of(call.moments) if call.moments else None,
        loss_scale=call.loss_scale,
        aliases=dict(call.tied),
        samples=call.samples,
        batch_size=training.batch_size,
        local_steps=training.update.local_steps,
        seed=training.seed,
        steps_total=settings_of(config).plan(call.samples).steps,
    )
    write_index(store, index)


def _fields(ref: FileRef) -> dict[str, Any]:
    return {"path": ref.path, "sha256": ref.sha256, "size": ref.size}
