"""What the servers of a job wrote down of what they applied (docs/formats/journals.md): read, and each push once."""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from deepseek_runtime.checkpoint.journals import read_pieces
from deepseek_runtime.checkpoint.store import Store
from deepseek_runtime.protocol.applied import AppliedSet
from deepseek_runtime.protocol.lineage import Step


class Entry(NamedTuple):
    """A push that a span applied, as its owner wrote it down, or the neighbour that holds its backup.

    `ordinal`: the how many-th since its line began; `term`: in which it was applied.
    """

    span: int
    line: int
    ordinal: int
    g: int
    term: int = 0
    worker: str = ""
    sequence: int = 0


@dataclass(slots=True)
class Journals:
    """What the servers of a job wrote down."""

    entries: list[Entry] = field(default_factory=list)
    begun: dict[tuple[int, Step], dict[int, int]] = field(default_factory=dict)
    """(line, the checkpoint it began from) -> span -> the part's ordinal."""
    inherited: dict[int, dict[int, AppliedSet]] = field(default_factory=dict)
    """Line that began from another job's checkpoint -> span -> ranges which that job had trained."""
    continued: dict[tuple[int, int], set[tuple[int, int]]] = field(default_factory=dict)
    """(span, line) -> (term in which it came to another server, its ordinal then)."""
    wire: dict[tuple[str, int], int] = field(default_factory=dict)
    """(file, incarnation) -> bytes of that server process when it last wrote."""
    pushes: set[tuple[str, int]] = field(default_factory=set)
    """(worker, its sequence)"""


def read_journals(folder: Path) -> Journals:
    """All `pushes-*.jsonl` of a folder. A line that is torn is what a crash leaves; `_gaps` says if it matters."""
    journals = Journals()
    for path in sorted(folder.glob("pushes-*.jsonl")):
        _take_all(journals, path.name, path.read_bytes())
    return journals


def read_kept_journals(store: Store) -> Journals:
    """What servers stored of theirs beside the checkpoints."""
    journals = Journals()
    for index, text in read_pieces(store):
        _take_all(journals, f"pushes-{index}.jsonl", text)
    return journals


def _take_all(journals: Journals, file: str, lines: bytes) -> None:
    for text in lines.split(b"\n"):
        with suppress(ValueError, KeyError, TypeError):
            _take(journals, file, json.loads(text))


def _take(journals: Journals, file: str, line: Any) -> None:
    process = (file, int(line["me"]))
    journals.wire[process] = max(journals.wire.get(process, 0), int(line["wire"]))
    if "g" in line:
        term, push = int(line["term"]), (str(line["worker"]), int(line["sequence"]))
        journals.pushes.add(push)
        for span, of, ordinal in line["spans"]:
            journals.entries.append(Entry(int(span), int(of), int(ordinal), int(line["g"]), term, *push))
    elif "continued" in line:
        for span, of, ordinal in line["spans"]:
            journals.continued.setdefault((int(span), int(of)), set()).add((int(line["continued"]), int(ordinal)))
    elif "from" in line:
        term, step = line["from"]
        begun = journals.begun.setdefault((int(line["line"]), Step(int(term), int(step))), {})
        begun.update({int(span): int(ordinal) for span, ordinal in line["parts"]})
        if "inherited" in line:
            kept = journals.inherited.setdefault(int(line["line"]), {})
            kept.update({int(span): AppliedSet(int(low), set(above)) for span, low, above in line["inherited"]})


# --- each push once -------------------------------------------------------------------------------------------------


def resolved(journals: Journals) -> tuple[list[Entry], list[Entry]]:
    """Each push once, however many servers wrote it down; and apart those that ended with their server.

    What an owner had applied when it was lost, and its neighbour had not, nobody was told of: the worker sends the same
    push again, to the neighbour, and then nothing was given up.
    """
    pushed: dict[tuple[int, int, int, str, int], Entry] = {}
    unsaid: list[Entry] = []
    for entry in journals.entries:
        later = [ordinal for term, ordinal in journals.continued.get((entry.span, entry.line), ()) if term > entry.term]
        if entry.ordinal <= min(later, default=entry.ordinal):
            pushed.setdefault((*entry[:3], entry.worker, entry.sequence), entry)
        else:
            unsaid.append(entry)
    known = {(entry.span, entry.worker, entry.sequence) for entry in pushed.values()}
    return list(pushed.values()), [e for e in unsaid if (e.span, e.worker, e.sequence) not in known]


def twice(entries: Iterable[Entry]) -> list[str]:
    """Two pushes in the place of one: two histories of a span that were both gone on with."""
    seen: dict[tuple[int, int, int], Entry] = {}
    problems = []
    for entry in entries:
        other = seen.setdefault(entry[:3], entry)
        if (other.worker, other.sequence) != (entry.worker, entry.sequence):
            problems.append(f"span {entry.span}, line {entry.line}: two pushes are number {entry.ordinal}")
    return problems
