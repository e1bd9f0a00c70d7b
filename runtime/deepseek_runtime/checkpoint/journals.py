"""Where a store keeps the journals of servers whose own folders end with them (docs/formats/journals.md)."""

import re
from collections.abc import Iterator
from typing import Final

from deepseek_runtime.checkpoint.store import Store
from deepseek_runtime.contract.names import Member

FOLDER: Final = "journals"
_PIECE: Final = re.compile(rf"{FOLDER}/server-(\d+)-(\d+)-(\d+)\.jsonl")


def piece_path(server: Member, start: int) -> str:
    """start: of the piece, in bytes of that process's journal."""
    return f"{FOLDER}/server-{server.index}-{server.incarnation}-{start}.jsonl"


def read_pieces(store: Store) -> Iterator[tuple[int, bytes]]:
    """Index of a server, and lines of it; each line once. Raises StoreError."""
    found = [match for path in store.list(FOLDER) if (match := _PIECE.fullmatch(path))]
    for match in sorted(found, key=lambda m: tuple(map(int, m.groups()))):
        yield int(match[1]), store.get(match[0])
