"""Where a store keeps the journals of servers whose own folders end with them (docs/formats/journals.md)."""

import re
from collections.abc import Iterator
from typing import Final, Literal

from deepseek_runtime.checkpoint.store import Store
from deepseek_runtime.contract.names import Member

FOLDER: Final = "journals"
Kind = Literal["server", "metrics"]
"""What a server applied; what a chief measured."""
_PIECE: Final = re.compile(rf"{FOLDER}/(server|metrics)-(\d+)-(\d+)-(\d+)\.jsonl")


def piece_path(server: Member, start: int, kind: Kind = "server") -> str:
    """start: of the piece, in bytes of that process's journal."""
    return f"{FOLDER}/{kind}-{server.index}-{server.incarnation}-{start}.jsonl"


def read_pieces(store: Store) -> Iterator[tuple[int, bytes]]:
    """Index of a server, and lines of it; each line once. Raises StoreError."""
    for match in _pieces(store, "server"):
        yield int(match[2]), store.get(match[0])


def read_measurements(store: Store) -> Iterator[bytes]:
    """Lines of the chief's metrics.jsonl, one incarnation of it after the other. Raises StoreError."""
    for match in _pieces(store, "metrics"):
        yield store.get(match[0])


def _pieces(store: Store, kind: Kind) -> list[re.Match[str]]:
    """In the order in which their lines were written, by server."""
    found = [match for path in store.list(FOLDER) if (match := _PIECE.fullmatch(path)) and match[1] == kind]
    return sorted(found, key=lambda match: tuple(map(int, match.groups()[1:])))
