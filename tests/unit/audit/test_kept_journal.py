"""Journals that are kept in the store: pieces that grow and then stay, each line once, and the same count from them."""

import json
from pathlib import Path

import pytest

from builders.journals import PLAN, JournaledJob
from deepseek_runtime.audit import count
from deepseek_runtime.checkpoint.journals import piece_path, read_pieces
from deepseek_runtime.checkpoint.local import LocalStore
from deepseek_runtime.checkpoint.store import Store
from deepseek_runtime.contract.names import Member
from deepseek_runtime.edge.journal import Journal
from deepseek_runtime.edge.kept_journal import KeptJournal

ME = Member("server", 1, 3)
LINE = len(json.dumps({"g": 0}, separators=(",", ":"))) + 1


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return LocalStore(tmp_path / "store")


def kept_lines(store: Store) -> list[int]:
    text = b"".join(data for _, data in read_pieces(store))
    return [json.loads(line)["g"] for line in text.splitlines()]


def keep(kept: KeptJournal, store: Store) -> str:
    piece = kept.piece()
    if piece is None:
        return ""
    kept.store(store, piece)
    return piece.path


def test_pieces_grow_and_then_stay(tmp_path: Path, store: Store) -> None:
    journal = Journal(tmp_path / "pushes-1.jsonl")
    kept = KeptJournal(journal, ME, full=2 * LINE)
    paths = [keep(kept, store)]
    for g in range(5):
        journal.write({"g": g})
        paths.append(keep(kept, store))
    starts = [0, 0, 2 * LINE, 2 * LINE, 4 * LINE]
    assert paths == ["", *(piece_path(ME, start) for start in starts)]
    assert keep(kept, store) == "", "nothing new"
    assert kept_lines(store) == [0, 1, 2, 3, 4]
    assert [index for index, _ in read_pieces(store)] == [1, 1, 1]


def test_what_could_not_be_stored_comes_with_the_next(tmp_path: Path, store: Store) -> None:
    journal = Journal(tmp_path / "pushes-1.jsonl")
    kept = KeptJournal(journal, ME, full=LINE)
    journal.write({"g": 0})
    assert kept.piece() is not None
    journal.write({"g": 1})
    keep(kept, store)
    assert kept_lines(store) == [0, 1]


def test_two_that_wait_at_once(tmp_path: Path, store: Store) -> None:
    journal = Journal(tmp_path / "pushes-1.jsonl")
    kept = KeptJournal(journal, ME, full=LINE)
    journal.write({"g": 0})
    first = kept.piece()
    journal.write({"g": 1})
    second = kept.piece()
    assert first is not None
    assert second is not None
    kept.store(store, first)
    kept.store(store, second)
    journal.write({"g": 2})
    keep(kept, store)
    assert kept_lines(store) == [0, 1, 2]


def test_what_an_earlier_process_wrote_is_not_its_own(tmp_path: Path, store: Store) -> None:
    earlier = Journal(tmp_path / "pushes-1.jsonl")
    earlier.write({"g": 7})
    earlier.close()
    journal = Journal(tmp_path / "pushes-1.jsonl")
    kept = KeptJournal(journal, ME)
    assert kept.piece() is None
    journal.write({"g": 8})
    assert keep(kept, store) == piece_path(ME, LINE)
    assert kept_lines(store) == [8]


def test_no_folder_no_journal(store: Store) -> None:
    kept = KeptJournal(Journal(None), ME)
    assert kept.piece() is None


def test_the_same_count_from_the_store(job: JournaledJob) -> None:
    job.push(0)
    job.save(2)
    job.push(1)  # never in a checkpoint
    job.kill(1)
    job.restore(next(name for name in job.saved if name.step == 2))
    for g in range(1, PLAN.count):
        job.push(g)
    job.save(PLAN.steps)
    from_folder = count(job.folder, job.store, lambda samples: PLAN)
    assert from_folder.exact
    for path in job.folder.glob("pushes-*.jsonl"):
        index = int(path.stem.removeprefix("pushes-"))
        lines = path.read_bytes().splitlines(keepends=True)
        for incarnation in (0, 1):
            mine = b"".join(line for line in lines if json.loads(line)["me"] == incarnation)
            if mine:
                job.store.put(piece_path(Member("server", index, incarnation), 0), mine)
    assert count(None, job.store, lambda samples: PLAN) == from_folder
