"""What a chief measured, kept beside the checkpoints: for curves, never at the cost of a checkpoint."""

from pathlib import Path

import pytest

from deepseek_runtime.checkpoint.journals import read_measurements, read_pieces
from deepseek_runtime.checkpoint.memory import MemoryStore
from deepseek_runtime.checkpoint.store import StoreError
from deepseek_runtime.contract.names import Member
from deepseek_runtime.edge import outside
from deepseek_runtime.edge.journal import Journal
from deepseek_runtime.edge.kept_journal import KeptJournal
from deepseek_runtime.protocol.effects import WriteParts

CHIEFS = [Member("server", 0, incarnation) for incarnation in (0, 1)]


def test_lines_of_each_chief_once_and_in_order(tmp_path: Path) -> None:
    store = MemoryStore("memory://measurements")
    for chief in reversed(CHIEFS):
        journal = Journal(tmp_path / f"{chief}.jsonl")
        kept = KeptJournal(journal, chief, kind="metrics")
        for step in (1, 2):
            journal.write({"step": step, "of": chief.incarnation})
            piece = kept.piece()
            assert piece is not None
            kept.store(store, piece)
        journal.close()
    assert b"".join(read_measurements(store)).splitlines() == [
        b'{"step":%d,"of":%d}' % (step, of) for of in (0, 1) for step in (1, 2)
    ]
    assert list(read_pieces(store)) == []


class Refusing(MemoryStore):
    def put(self, path: str, data: bytes) -> None:
        raise StoreError("denied", path)


def test_no_checkpoint_fails_for_them(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "metrics.jsonl")
    kept = KeptJournal(journal, CHIEFS[0], kind="metrics")
    journal.write({"step": 1})
    piece = kept.piece()
    assert piece is not None
    store, call = Refusing("memory://refusing"), WriteParts(0, 1, 1, ())
    assert outside._write_parts(store, call, {}, None, (kept, piece)) == {}
    assert kept.piece() == piece, "they wait for the next one"
    with pytest.raises(StoreError):
        outside._write_parts(store, call, {}, (kept, piece), None)
    journal.close()
