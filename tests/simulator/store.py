"""The checkpoint store: durable, slow, sometimes full or silent; what a dead or paused process wrote may land late.

Choosing and cleaning are those of protocol/lineage.py, as checkpoint/choose.py uses them.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from deepseek_runtime.protocol import lineage
from deepseek_runtime.protocol.effects import (
    Call,
    Clean,
    Failed,
    FindCheckpoint,
    Found,
    LoadParts,
    PartData,
    WriteBase,
    WriteIndex,
    WriteParts,
)
from deepseek_runtime.protocol.files import FileRef, Source
from deepseek_runtime.protocol.lineage import Base, LineageBroken, Step
from simulator.clock import Clock, Violation
from simulator.tally import restored

Trouble = Literal["", "full", "silent", "forgetful"]
"""forgetful: it does what it is asked, and the answer is lost."""


@dataclass(slots=True)
class Part:
    ref: FileRef
    data: PartData
    damaged: bool = False


class Store:
    def __init__(self, clock: Clock, keep: int, duration: tuple[float, float]) -> None:
        self.clock = clock
        self.keep = keep
        self.duration = duration
        self.trouble: Trouble = ""
        self.parts: dict[str, Part] = {}
        self.indexes: dict[Step, WriteIndex] = {}
        self.broken_indexes: set[Step] = set()
        self.bases: dict[int, Base] = {}
        self.moments: dict[str, Step] = {}
        self.on_index: Callable[[WriteIndex], None] | None = None
        self.read = 0

    def steps(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for name in self.indexes:
            found.setdefault(name.term, []).append(name.step)
        return found

    # --- one operation, at one instant

    def write_part(self, term: int, step: int, part: PartData) -> FileRef:
        path = f"t{term}/step-{step}/span-{part.span}"
        rest = repr((part.applied, sorted(part.skipped), sorted(part.residuals.items()), part.pushed))
        digest = hashlib.blake2b(part.theta.tobytes() + rest.encode(), digest_size=8).hexdigest()
        ref = FileRef(path, digest, part.theta.nbytes)
        self.parts[path] = Part(ref, part)
        return ref

    def do(self, call: Call) -> Any:
        if isinstance(call, LoadParts):
            return self._load(call)
        if isinstance(call, FindCheckpoint):
            return self._find(call)
        if isinstance(call, WriteIndex):
            name = Step(call.term, call.step)
            if name not in self.indexes:
                self.clock.log("store: index %s", tuple(name))
                self.indexes[name] = call
                if self.on_index is not None:
                    self.on_index(call)
            return None
        if isinstance(call, WriteBase):
            base = Base(Step(*call.restored)) if call.restored is not None else Base(continues=call.continues)
            self.clock.log("store: base of %d: %s", call.term, base)
            if self.bases.setdefault(call.term, base) != base:
                return Failed("conflict", f"term {call.term} has another base")
            return None
        if isinstance(call, Clean):
            return self._clean(call.term)
        raise Violation(f"not a call to the store: {call}")

    def _load(self, call: LoadParts) -> Any:
        found = {}
        for span in call.spans:
            ref = call.source.parts[span]
            part = self.parts.get(ref.path)
            if part is None:
                return Failed("missing", f"{ref.path} is missing")
            if part.damaged or part.ref != ref:
                return Failed("damaged", f"{ref.path} is damaged")
            data = part.data
            found[span] = restored(replace(data, theta=data.theta.copy(), applied=data.applied.copy()))
        self.read += 1
        return found

    def _find(self, call: FindCheckpoint) -> Found | Failed | None:
        """As checkpoint/choose.py."""
        steps = self.steps()
        if lineage.parent_term(call.term, self.bases) is None:
            return None
        try:
            names = list(lineage.candidates(call.term, self.bases, steps))
        except LineageBroken as error:
            return Failed("damaged", str(error))
        for name in names:
            if tuple(name) not in call.skip and name not in self.broken_indexes:
                index = self.indexes[name]
                source = Source(name.term, name.step, index.parts)
                self.clock.log("store: term %d finds %s", call.term, tuple(name))
                return Found(source, index.space, index.samples, index.fixed, index.moments, index.tied)
        return Failed("missing", "nothing of the lineage can be read")

    def _clean(self, term: int) -> Failed | None:
        folders = {Step(*map(int, path[1:].split("/span")[0].split("/step-"))) for path in self.parts}
        try:
            doomed = lineage.garbage(term, self.keep, self.bases, self.steps(), folders | set(self.indexes))
        except LineageBroken as error:
            return Failed("damaged", str(error))
        for name in doomed:
            self.clock.log("store: term %d deletes %s", term, tuple(name))
            self.indexes.pop(name, None)
            prefix = f"t{name.term}/step-{name.step}/"
            self.parts = {path: part for path, part in self.parts.items() if not path.startswith(prefix)}
            self.moments = {path: step for path, step in self.moments.items() if step != name}
        return None


class Writer:
    """The writer's thread of one process: one call after the other. `run` as in etcd.Client; `alive` of the process."""

    def __init__(
        self,
        store: Store,
        run: Callable[..., None],
        alive: Callable[[], bool],
        done: Callable[[Any, Any], None],
    ) -> None:
        self._store = store
        self._run = run
        self._alive = alive
        self._done = done
        self._waiting: deque[Call] = deque()
        self._busy = False

    def call(self, call: Call) -> None:
        self._waiting.append(call)
        if not self._busy:
            self._next()

    def _takes(self) -> float:
        clock = self._store.clock
        low, high = self._store.duration
        return clock.random.uniform(low, high) * (20 if clock.random.random() < 0.02 else 1)

    def _next(self) -> None:
        if not self._waiting:
            self._busy = False
            return
        self._busy = True
        call = self._waiting.popleft()
        if isinstance(call, WriteParts):
            self._write_part(call, {}, list(call.parts))
        else:
            self._later(self._once, call)

    def _later(self, do: Callable[..., None], *args: Any) -> None:
        self._store.clock.after(self._takes(), self._land, do, *args)

    def _land(self, do: Callable[..., None], *args: Any) -> None:
        # What a process had sent off when it was killed may still arrive.
        if not self._alive() and self._store.clock.random.random() < 0.5:
            do(*args)
        else:
            self._run(do, *args)

    def _write_part(self, call: WriteParts, files: dict[int, FileRef], rest: list[PartData]) -> None:
        if not rest:
            self._answer(call, files)
            return
        self._later(self._part, call, files, rest)

    def _part(self, call: WriteParts, files: dict[int, FileRef], rest: list[PartData]) -> None:
        if self._store.trouble in ("full", "silent"):
            self._fail(call)
            return
        files[rest[0].span] = self._store.write_part(call.term, call.step, rest[0])
        if self._alive():
            self._write_part(call, files, rest[1:])

    def _once(self, call: Call) -> None:
        trouble = self._store.trouble
        if trouble == "silent" or (trouble == "full" and isinstance(call, WriteIndex | WriteBase)):
            self._fail(call)
            return
        result = self._store.do(call)
        if trouble == "forgetful":
            self._fail(call)
        else:
            self._answer(call, result)

    def _fail(self, call: Call) -> None:
        kind = "full" if self._store.trouble == "full" else "unreachable"
        self._store.clock.after(3.0, self._run, self._answer, call, Failed(kind, "the store is in trouble"))

    def _answer(self, call: Call, result: Any) -> None:
        if self._alive():
            self._done(call, result)
            self._next()
