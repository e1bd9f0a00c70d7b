"""A job as it looks from outside, journals and store, beside the truth: what is really in each span.

The truth is kept as the contents themselves: a checkpoint copies them, a restore takes the copy back. Nothing of how
the audit counts (lines, ordinals) enters it.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deepseek_runtime.checkpoint.choose import clean
from deepseek_runtime.checkpoint.index import Index, PartRef, read_index, write_base, write_index
from deepseek_runtime.checkpoint.spans import read_span, write_span
from deepseek_runtime.checkpoint.store import Store
from deepseek_runtime.edge.journal import begins
from deepseek_runtime.protocol.applied import AppliedSet
from deepseek_runtime.protocol.effects import LoadParts, PartData
from deepseek_runtime.protocol.files import FileRef, Source
from deepseek_runtime.protocol.lineage import Base, Step
from deepseek_runtime.ranges import RangePlan
from deepseek_runtime.space import Space, TensorSpec

PLAN = RangePlan(samples=40, batch_size=4, local_steps=2, steps=40)
"""20 ranges of 8 samples, 5 an epoch."""


@dataclass
class SpanInside:
    """What is in a span, whoever believes what."""

    line: int
    ordinal: int = 0
    pushed: list[int] = field(default_factory=list)
    skipped: set[int] = field(default_factory=set)
    lost: float = 0.0

    def copy(self, line: int, ordinal: int) -> "SpanInside":
        return SpanInside(line, ordinal, list(self.pushed), set(self.skipped), self.lost)


class JournaledJob:
    """Starts with term 1 open on `servers` servers, each of which hosts every `servers`-th span."""

    def __init__(self, folder: Path, store: Store, spans: int = 4, servers: int = 2, backup: bool = False) -> None:
        self.folder = folder
        self.backup = backup
        self.store = store
        self.servers = servers
        self.term = 1
        self.sequence = 0
        self.wire = dict.fromkeys(range(servers), 0)
        self.incarnation = dict.fromkeys(range(servers), 0)
        self.wire_truth = 0
        self.rolled_back: dict[int, Counter[int]] = {span: Counter() for span in range(spans)}
        self.saved: dict[Step, dict[int, SpanInside]] = {}
        self.copied: dict[int, SpanInside] = {}
        self.space = Space.build([TensorSpec("w", (2 * spans, 8), "float32")], [], spans=spans, chunk=8)
        self.spans = {span: SpanInside(1) for span in range(spans)}
        self.save(0)
        write_base(store, 1, Base(restored=Step(1, 0)))
        self.begin(Step(1, 0))

    # what happens

    def push(self, g: int, spans: Collection[int] | None = None, told: bool = True) -> None:
        """A push of range g is applied on these spans (all). told: by the journal."""
        self.sequence += 1
        self.push_again(self.sequence, g, spans, told)

    def push_again(self, sequence: int, g: int, spans: Collection[int] | None, told: bool = True) -> None:
        for server in range(self.servers):
            here = [span for span in self.spans if span % self.servers == server and (spans is None or span in spans)]
            for span in here:
                inside = self.spans[span]
                inside.pushed.append(g)
                inside.ordinal += 1
            if here and told:
                places = [[span, self.spans[span].line, self.spans[span].ordinal] for span in here]
                self.tell(server, g, sequence, places)
                if self.backup:
                    self.tell((server + 1) % self.servers, g, sequence, places)

    def tell(self, server: int, g: int, sequence: int, places: list[list[int]]) -> None:
        worker = {"g": g, "worker": "worker-0-0", "sequence": sequence, "term": self.term}
        self.write(server, {**worker, "spans": places})

    def fail_over(self, server: int, g: int, again: bool) -> None:
        """A server is lost that alone had applied range g: its neighbour's state goes on, and the worker pushes again,
        or is lost too."""
        here = [span for span in self.spans if span % self.servers == server]
        self.sequence += 1
        sequence = self.sequence
        self.tell(server, g, sequence, [[span, self.spans[span].line, self.spans[span].ordinal + 1] for span in here])
        self.incarnation[server] += 1
        self.wire[server] = 0
        self.go_on()
        places = [[span, self.spans[span].line, self.spans[span].ordinal] for span in here]
        self.write(server, {"continued": self.term, "spans": places})
        if again:
            self.push_again(sequence, g, here)
        else:
            for span in here:
                self.rolled_back[span][g] += 1

    def skip(self, g: int, spans: Collection[int] | None = None) -> None:
        for span, inside in self.spans.items():
            if spans is None or span in spans:
                inside.skipped.add(g)

    def copy(self, span: int) -> None:
        """For the next checkpoint, before the other spans: its parts are not of one instant."""
        inside = self.spans[span]
        self.copied[span] = inside.copy(inside.line, inside.ordinal)

    def save(self, step: int) -> None:
        name = Step(self.term, step)
        for span in self.spans.keys() - self.copied.keys():
            self.copy(span)
        copies, self.copied = dict(sorted(self.copied.items())), {}
        self.saved[name] = copies
        refs = []
        for span, inside in copies.items():
            data = PartData(
                span,
                np.zeros(16, np.float32),
                AppliedSet.of([*inside.pushed, *inside.skipped]),
                inside.skipped,
                inside.ordinal,
                inside.lost,
                {"worker-0-0": 0.5},
                float(len(inside.pushed)),
            )
            ref = write_span(self.store, self.term, step, data)
            refs.append(PartRef(span=span, path=ref.path, sha256=ref.sha256, size=ref.size))
        write_index(
            self.store,
            Index(
                term=self.term, step=step, space=self.space.to_json(), parts=tuple(refs),
                samples=PLAN.samples, batch_size=PLAN.batch_size, local_steps=PLAN.local_steps,
            ),
        )  # fmt: skip

    def restore(self, name: Step, told: bool = True) -> None:
        """The next term: all go back to a checkpoint."""
        self.term += 1
        self.copied = {}
        for span, inside in self.spans.items():
            copy = self.saved[name][span]
            self.rolled_back[span] += Counter(inside.pushed) - Counter(copy.pushed)
            self.spans[span] = copy.copy(self.term, 0)
            self.spans[span].lost += 0.5
        write_base(self.store, self.term, Base(restored=name))
        if told:
            self.begin(name)

    def go_on(self, of: int | None = None) -> None:
        """The next term continues what is there."""
        write_base(self.store, self.term + 1, Base(continues=of or self.term))
        self.term += 1

    def kill(self, server: int, torn: bool = False) -> None:
        """A new process in its place. What it holds comes by `restore`."""
        self.incarnation[server] += 1
        self.wire[server] = 0
        if torn:
            with self.file(server).open("ab") as file:
                file.write(b'{"me":0,"wire":9999,"g":3,"wor')
                file.write(b"\n")  # the next process begins a line of its own

    def clean(self, keep: int) -> None:
        for name in clean(self.store, self.term, keep):
            self.saved.pop(name, None)

    # what the servers write

    def file(self, server: int) -> Path:
        return self.folder / f"pushes-{server}.jsonl"

    def write(self, server: int, line: dict[str, object]) -> None:
        self.wire[server] += 10
        self.wire_truth += 10
        with self.file(server).open("a") as file:
            file.write(json.dumps({"me": self.incarnation[server], "wire": self.wire[server], **line}) + "\n")

    def begin(self, name: Step, foreign: bool = False, weights_only: bool = False) -> None:
        index = read_index(self.store, *name)
        for server in range(self.servers):
            files: dict[int, FileRef] = {p.span: p.ref for p in index.parts if p.span % self.servers == server}
            source = Source(name.term, name.step, files, weights_only=weights_only, foreign=foreign)
            parts = {span: read_span(self.store, ref, span) for span, ref in files.items()}
            self.write(server, begins(LoadParts(1, self.term, source, tuple(files)), parts))

    # the truth

    def times(self, g: int) -> list[int]:
        """How often g is in each span."""
        return [inside.pushed.count(g) for inside in self.spans.values()]

    def lost(self, expected: Iterable[int]) -> int:
        skipped = {g for g in expected if max(self.times(g)) == 0 and any(g in s.skipped for s in self.spans.values())}
        return sum(PLAN.samples_of(g) for g in expected if g not in skipped and min(self.times(g)) == 0)

    def repeated(self) -> int:
        return sum(PLAN.samples_of(g) * max(0, max(self.times(g)) - 1) for g in range(PLAN.count))

    def given_up(self) -> int:
        return sum(
            PLAN.samples_of(g) * max(counts[g] for counts in self.rolled_back.values()) for g in range(PLAN.count)
        )
