"""What the chief measures, beside the checkpoints, where its own folder ends with its pod."""

import queue
from pathlib import Path
from typing import Any

from deepseek_runtime.checkpoint.journals import read_measurements, read_pieces
from deepseek_runtime.checkpoint.local import LocalStore
from deepseek_runtime.contract.config import Checkpoint, JobConfig, Training
from deepseek_runtime.contract.names import Member
from deepseek_runtime.edge.journal import Journal
from deepseek_runtime.edge.kept_journal import KeptJournal
from deepseek_runtime.edge.outside import Storage
from deepseek_runtime.protocol.effects import Failed


def storage(uri: Path, journal: Journal, incarnation: int, answers: "queue.Queue[tuple[Any, Any]]") -> Storage:
    config = JobConfig(
        job="digits",
        uid="u1",
        etcd=("e:1",),
        training=Training(task="a:B", steps=1),
        checkpoint=Checkpoint(uri=str(uri)),
    )
    measured = KeptJournal(journal, Member("server", 0, incarnation), full=40, kind="metrics")
    return Storage(config, lambda call, result: answers.put((call, result)), None, measured)


def test_they_are_stored_between_checkpoints_one_chief_after_the_other(tmp_path: Path) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    for incarnation in (2, 10):
        journal = Journal(tmp_path / f"pod-{incarnation}" / "metrics.jsonl")
        kept = storage(tmp_path / "job", journal, incarnation, answers)
        assert not kept.keep_measured("now"), "there is nothing yet"
        for step in range(6):
            journal.write({"term": incarnation, "step": step})
            assert kept.keep_measured("now")
            assert answers.get(timeout=10) == ("now", None)
            assert not kept.keep_measured("now"), "the store has it all"
        journal.write({"term": incarnation, "step": 6})
        kept.keep_rest()
        kept.close(10.0)
        journal.close()
    store = LocalStore(tmp_path / "job")
    written = b"".join((tmp_path / f"pod-{incarnation}" / "metrics.jsonl").read_bytes() for incarnation in (2, 10))
    pieces = list(read_measurements(store))
    assert b"".join(pieces) == written
    assert len(pieces) > 4, "in pieces"
    assert list(read_pieces(store)) == [], "they are no server's journal"


def test_a_store_that_cannot_be_written_is_told_and_costs_no_line(tmp_path: Path) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    (tmp_path / "job").write_text("a file")
    journal = Journal(tmp_path / "pod" / "metrics.jsonl")
    kept = storage(tmp_path / "job", journal, 1, answers)
    journal.write({"step": 1})
    assert kept.keep_measured("now")
    assert isinstance(answers.get(timeout=10)[1], Failed)
    (tmp_path / "job").unlink()
    assert kept.keep_measured("now"), "it comes again"
    assert answers.get(timeout=10) == ("now", None)
    kept.close(10.0)
    journal.close()
    assert b"".join(read_measurements(LocalStore(tmp_path / "job"))) == b'{"step":1}\n'
