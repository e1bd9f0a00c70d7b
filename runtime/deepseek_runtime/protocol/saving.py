"""Checkpoints: every server writes its spans, one worker its moments, the chief the index, once and last.

protocol.md, Checkpoints 1, 2, 4 and 5. A full disk or a store that does not answer loses this checkpoint, never
the job: the next one is tried at its own step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import TermRecord
from deepseek_runtime.protocol.effects import Call, Clean, Effect, Failed, Note, ReadTerm, WriteIndex
from deepseek_runtime.protocol.files import FileRef
from deepseek_runtime.protocol.messages import Ask
from deepseek_runtime.protocol.opening import Opened
from deepseek_runtime.protocol.orders import Orders
from deepseek_runtime.protocol.server_orders import Done, Save
from deepseek_runtime.protocol.tickets import Tickets


@dataclass(slots=True)
class _Running:
    step: int
    files: dict[int, FileRef] | None = None
    moments: FileRef | None = None
    waits_for_moments: bool = True
    writing: bool = False


class Saving:
    """At most one checkpoint at a time."""

    def __init__(
        self,
        term: int,
        servers: tuple[Member, ...],
        opened: Opened,
        orders: Orders,
        tickets: Tickets,
        moments_timeout: float,
    ) -> None:
        self.last: tuple[int, int] | None = opened.restored or opened.newest
        self.last_time: float | None = opened.created
        self.failed = 0
        """Checkpoints in a row that could not be stored."""
        self.moments: FileRef | None = opened.moments
        """Of the newest checkpoint that has any: what a worker that joins begins with."""
        self.loss_scale: float | None = opened.loss_scale
        self._term = term
        self._servers = servers
        self._opened = opened
        self._orders = orders
        self._tickets = tickets
        self._timeout = moments_timeout
        self._running: _Running | None = None
        self._written: set[int] = {self.last[1]} if self.last is not None and self.last[0] == term else set()
        self._unsure: dict[int, WriteIndex] = {}
        """By step: indexes that may stand in the store although it said that they do not. Parts that they name are not
        written again; the same index is."""

    @property
    def idle(self) -> bool:
        return self._running is None

    def start(self, step: int, now: float) -> list[Effect]:
        """Each server copies its spans now. Nothing if one runs, or if this term has that step already."""
        if self._running is not None or not self.may_write(step):
            return []
        unsure = self._unsure.get(step)
        if unsure is not None:
            self._running = _Running(step, dict(unsure.parts), unsure.moments, waits_for_moments=False, writing=True)
            return [unsure]
        running = self._running = _Running(step)
        self._tickets.add(Ask(self._term, self._key(step), "moments", step=step), now)

        def stored(done: dict[Member, Done], now: float) -> list[Effect]:
            return self._on_stored(running, done)

        return self._orders.to_all(self._servers, Save(step), stored, now)

    def may_write(self, step: int) -> bool:
        """Checkpoints 2: a step has at most one checkpoint a term."""
        return step not in self._written

    def free_step(self, step: int) -> int:
        """The first step from `step` on that has no checkpoint of this term, and none under way: a drain's own, or the
        residuals that were flushed for it would be in none."""
        while not self.may_write(step) or (self._running is not None and self._running.step == step):
            step += 1
        return step

    def _key(self, step: int) -> str:
        return f"moments/{self._term}/{step}"

    def _on_stored(self, running: _Running, done: dict[Member, Done]) -> list[Effect]:
        if running is not self._running:
            return []
        for answer in done.values():
            if answer.error:
                return self._abandon(f"step {running.step}: {answer.error}")
        running.files = {span: file for answer in done.values() for span, file in answer.files.items()}
        return self._maybe_index()

    def _abandon(self, why: str) -> list[Effect]:
        assert self._running is not None
        self._tickets.close(self._key(self._running.step))
        self._running = None
        self.failed += 1
        last = f"the newest is of step {self.last[1]}" if self.last else "there is none yet"
        return [Note("CheckpointFailed", f"checkpoint of {why}; {last}; another will be tried", True)]

    def on_moments(self, body: Mapping[str, Any]) -> list[Effect]:
        running = self._running
        if running is None or running.step != body.get("step"):
            return []
        running.waits_for_moments = False
        running.moments = FileRef(**body["file"]) if body.get("file") else None
        return self._maybe_index()

    def _maybe_index(self) -> list[Effect]:
        """Checkpoints 2: one PUT, last, however often parts are reported."""
        running = self._running
        if running is None or running.files is None or running.waits_for_moments or running.writing:
            return []
        running.writing = True
        opened = self._opened
        return [
            WriteIndex(
                self._term,
                running.step,
                self.last,
                opened.space.to_json(),
                opened.samples,
                running.files,
                opened.fixed,
                running.moments,
                self.loss_scale,
                opened.tied,
            )
        ]

    def on_result(self, call: Call, result: Any, now: float, wall: float) -> list[Effect]:
        if isinstance(call, WriteIndex) and self._running is not None and call.step == self._running.step:
            if isinstance(result, Failed):
                self._unsure[call.step] = call
                return self._abandon(f"step {call.step}: {result.text}")
            self._running = None
            self.last = (self._term, call.step)
            if call.moments is not None:
                self.moments = call.moments
            self.last_time = wall
            self.failed = 0
            self._written.add(call.step)
            return [Note("CheckpointSaved", f"step {call.step}"), *self.before_cleaning()]
        if isinstance(call, ReadTerm) and call.purpose == "clean":
            ours = isinstance(result, TermRecord) and result.number == self._term
            return [Clean(self._term)] if ours else []
        if isinstance(call, Clean) and isinstance(result, Failed):
            return [Note("CheckpointsNotCleaned", result.text, True)]
        return []

    def before_cleaning(self) -> list[Effect]:
        """Checkpoints 4: nothing is deleted before etcd has shown our own term, after the index was stored."""
        return [ReadTerm("clean")]

    def on_tick(self, now: float) -> list[Effect]:
        for key in self._tickets.overdue("moments", self._timeout, now):
            self._tickets.close(key)
            if self._running is not None and key == self._key(self._running.step):
                self._running.waits_for_moments = False
                note = Note(
                    "MomentsMissing", f"no worker saved its optimizer state for step {self._running.step}", True
                )
                return [note, *self._maybe_index()]
        return []
