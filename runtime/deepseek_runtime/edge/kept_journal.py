"""A server's journal in the checkpoint store, where its own folder ends with its pod.

Stored with each of the server's parts of a checkpoint, so that whatever is in a checkpoint can be counted from what the
store holds; once more when the server leaves. The newest piece is stored again, longer, until it is of a size that is
left alone: the files stay few, and what travels with a checkpoint stays small.
"""

from typing import Final, NamedTuple

from deepseek_runtime.checkpoint.journals import Kind, piece_path
from deepseek_runtime.checkpoint.store import Store
from deepseek_runtime.contract.names import Member
from deepseek_runtime.edge.journal import Journal

FULL: Final = 1 << 20
"""Bytes of a piece to which nothing is added any more."""


class Piece(NamedTuple):
    path: str
    data: bytes
    end: int
    """Where it ends in the journal."""


class KeptJournal:
    """One server process's. `piece` on the thread that writes the journal, `store` on the store's own."""

    def __init__(self, journal: Journal, me: Member, full: int = FULL, kind: Kind = "server") -> None:
        self._kind: Kind = kind
        self._journal = journal
        self._me = me
        self._full = full
        self._start = self._stored = journal.size

    def piece(self) -> Piece | None:
        """What is to be stored now; None when the store has it all."""
        stored = self._stored
        if stored - self._start >= self._full:
            self._start = stored
        data = self._journal.since(self._start)
        end = self._start + len(data)
        return Piece(piece_path(self._me, self._start, self._kind), data, end) if end > stored else None

    def store(self, store: Store, piece: Piece) -> None:
        """Can be repeated. Raises StoreError."""
        store.put(piece.path, piece.data)
        self._stored = max(self._stored, piece.end)
