"""A server: its spans, what workers push and pull, and what its chief orders.

One term at a time. A server follows the newest term it has seen and never a lower one (protocol.md, Terms 1);
what it holds of older terms it keeps until the chief says drop.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from deepseek_runtime.compression import PayloadError
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import TermRecord
from deepseek_runtime.protocol import term as terms
from deepseek_runtime.protocol.effects import (
    Call,
    Effect,
    Failed,
    LoadParts,
    LogPush,
    Note,
    PartData,
    Send,
    WriteParts,
)
from deepseek_runtime.protocol.files import FileRef
from deepseek_runtime.protocol.messages import (
    Answer,
    Answers,
    InitialPart,
    Message,
    NewTerm,
    Published,
    Pull,
    Push,
    Update,
    Version,
)
from deepseek_runtime.protocol.receiving import Receiving
from deepseek_runtime.protocol.reporting import Reports
from deepseek_runtime.protocol.server_orders import (
    Admit,
    AppliedReport,
    Close,
    Done,
    Drop,
    EndLease,
    Holdings,
    Joined,
    Order,
    Place,
    Receive,
    ReportTaken,
    Save,
    Skip,
    SpanState,
)
from deepseek_runtime.protocol.span import Span, SpanParts
from deepseek_runtime.space import Space

BuildParts = Callable[[Space, int, int], SpanParts]
"""(space, span, length of the data set)"""


class Server:
    """`me` is this process; `build` makes codec and rule of a span when the space is known."""

    def __init__(self, me: Member, build: BuildParts, resend: float = 1.0) -> None:
        self.me = me
        self.record: TermRecord | None = None
        self.spans: dict[int, Span] = {}
        self.admitted = False
        self.wire_bytes = 0
        self._wire_before = 0
        self._build = build
        self._resend = resend
        self._staged: dict[int, Span] = {}
        """What Place made ready; holds nothing until the base of the term is stored and the chief says Drop."""
        self._ended: set[int] = set()
        self._joined = True
        self._joined_at = 0.0
        self._done: dict[int, Done] = {}
        self._working: dict[int, Order] = {}
        self._receiving = Receiving()
        self._reports = Reports(resend)

    # --- terms ------------------------------------------------------------------------------------------------------

    @property
    def number(self) -> int:
        return self.record.number if self.record is not None else 0

    def follows(self, record: TermRecord) -> bool:
        """Terms 1: members never follow a lower term than they have seen."""
        return record.number > self.number

    def on_term(self, record: TermRecord, now: float) -> list[Effect]:
        if not self.follows(record):
            return []
        self.record = record
        self._wire_before = self.wire_bytes
        self.admitted = False
        self._ended.clear()
        self._done.clear()
        self._working.clear()
        self._reports.forget()
        self._receiving = Receiving(record.number)
        self._staged = {}
        self._joined = self.me not in terms.servers(record)
        return [] if self._joined else self._join(now)

    def _join(self, now: float) -> list[Effect]:
        assert self.record is not None
        self._joined_at = now
        return [Send(terms.chief(self.record), Joined(self.record.number))]

    # --- messages ---------------------------------------------------------------------------------------------------

    def on_message(self, sender: Member, message: Message, now: float) -> list[Effect]:
        if self.record is None:
            return []
        if isinstance(message, NewTerm):
            return self.on_term(message.record, now)
        if isinstance(message, Push | Pull | InitialPart):
            if message.term < self.number:
                return [Send(sender, NewTerm(self.record))]
            if message.term > self.number or self.me not in terms.servers(self.record):
                return []
            if isinstance(message, InitialPart):
                return self._receiving.take(sender, message)
            if not self.admitted:
                return []
            return self._on_push(sender, message, now) if isinstance(message, Push) else self._on_pull(sender, message)
        if isinstance(message, Order) and message.term == self.number and sender == terms.chief(self.record):
            return self._on_order(message)
        if isinstance(message, Order) and message.term > self.number:
            # Etcd has not told us yet: whoever speaks in an older term is told of the newer one.
            return [Send(sender, Joined(self.number))]
        if isinstance(message, ReportTaken) and message.term == self.number:
            self._reports.taken(message.number)
        return []

    def is_current(self, push: Push) -> bool:
        """Server 1: of this term, and not ended as far as this server knows. A residual needs no lease."""
        return push.lease is None or (push.lease.term == self.number and push.lease.number not in self._ended)

    def _on_push(self, sender: Member, push: Push, now: float) -> list[Effect]:
        effects: list[Effect] = []
        answers: dict[int, Answer] = {}
        applied: list[int] = []
        current = self.is_current(push)
        for index in push.parts:
            span = self.spans.get(index)
            if span is None or not self.same_branch(span, push.branch):
                continue
            try:
                answers[index], changed = span.push(sender, push, current)
            except PayloadError as error:
                effects.append(
                    Note("PushRefused", f"{sender} sent a payload that span {index} cannot read: {error}", True)
                )
                continue
            if changed:
                applied.append(index)
        if applied and push.lease is not None:
            effects.append(LogPush(self._log_line(sender, push, applied)))
        if applied:
            effects += self._report(sender, push, applied, now)
        if answers:
            effects.append(Send(sender, Answers(self.number, push.branch, push.sequence, answers)))
        return effects

    @staticmethod
    def same_branch(span: Span, branch: int) -> bool:
        """Different branches must not be mixed."""
        return span.branch == branch

    def _log_line(self, sender: Member, push: Push, applied: list[int]) -> dict[str, Any]:
        assert push.lease is not None
        return {
            "g": push.lease.g,
            "worker": str(sender),
            "sequence": push.sequence,
            "term": self.number,
            "spans": [[index, self.spans[index].line, self.spans[index].ordinal] for index in applied],
        }

    def _report(self, sender: Member, push: Push, applied: list[int], now: float) -> list[Effect]:
        """Server 5: each applied (range, span), repeated until acknowledged."""
        assert self.record is not None
        ranges: tuple[tuple[int, tuple[int, ...]], ...] = ()
        if push.lease is not None:
            ranges = ((push.lease.g, tuple(applied)),)
        pushes: tuple[dict[str, Any], ...] = ()
        if push.lease is not None and push.stats and 0 in applied:
            pushes = ({"g": push.lease.g, "worker": str(sender), "samples": push.samples, **push.stats},)
        report = AppliedReport(
            self.number,
            self._reports.next_number(),
            ranges,
            pushes,
            self.wire_bytes - self._wire_before,
            self._residuals(),
            sum(span.pushed for span in self.spans.values()),
        )
        self._reports.told(report, now)
        return [Send(terms.chief(self.record), report)]

    def _residuals(self) -> dict[str, float]:
        """Sum of |e| over the spans here, by worker; "" is what is lost for good."""
        sums: dict[str, float] = {"": 0.0}
        for span in self.spans.values():
            sums[""] += span.lost
            for worker, value in span.residuals.items():
                sums[worker] = sums.get(worker, 0.0) + value
        return sums

    def _on_pull(self, sender: Member, pull: Pull) -> list[Effect]:
        assert self.record is not None
        updates = {}
        for index, held in pull.versions.items():
            span = self.spans.get(index)
            if span is None or not self.same_branch(span, pull.branch):
                return [Send(sender, NewTerm(self.record))]
            update = span.update_since(held)
            updates[index] = update or Update(Version(span.line, span.count))
        integers = self.spans[0].integers if 0 in updates else None
        # A copy: the reply may be on its way while the next push changes them.
        reply = Published(self.number, pull.branch, pull.number, updates, None if integers is None else integers.copy())
        return [Send(sender, reply)]

    # --- orders -----------------------------------------------------------------------------------------------------

    def _on_order(self, order: Order) -> list[Effect]:
        assert self.record is not None
        self._joined = True
        chief = terms.chief(self.record)
        if order.id in self._done:
            return [Send(chief, self._done[order.id])]
        if order.id in self._working:
            return []
        body = order.body
        if isinstance(body, Receive):
            return self._begin_receiving(order, body)
        if isinstance(body, Place) and body.source is not None:
            self._working[order.id] = order
            if not body.spans:
                return self._placed(order, body, {})
            return [LoadParts(order.id, self.number, body.source, body.spans)]
        if isinstance(body, Save):
            self._working[order.id] = order
            # Before it is admitted only a restoreFrom is saved: what Place made ready.
            spans = self.spans if self.admitted else self._staged
            parts = tuple(span.snapshot() for span in spans.values())
            return [WriteParts(order.id, self.number, body.step, parts)]
        return self._finish(Done(self.number, order.id), self._do(body))

    def _do(self, body: object) -> dict[str, Any]:
        """The orders that are done at once; what Done says of them."""
        if isinstance(body, Place):
            missing = [index for index in body.spans if index not in self.spans]
            self._staged = {index: self.spans[index] for index in body.spans if index in self.spans}
            return {"error": f"spans {missing} are not here", "error_kind": "missing"} if missing else {}
        if isinstance(body, Drop):
            self.spans = self._staged
            for span in self.spans.values():
                span.closed = False
                # A term that only continues has placed them too: the next one's base must name it, not its forerunner.
                span.placed = self.number
        elif isinstance(body, Admit):
            self.admitted = True
            return {"spans": self._states()}
        elif isinstance(body, Holdings):
            return {"spans": self._states()}
        elif isinstance(body, EndLease):
            self._ended.add(body.number)
            return {"having": tuple(index for index, span in self.spans.items() if span.has(body.g))}
        elif isinstance(body, Skip):
            for index in body.spans:
                if index in self.spans:
                    self.spans[index].skip(body.g)
        elif isinstance(body, Close):
            for span in self.spans.values():
                span.closed = True
                span.publish_dense()
        return {}

    def _finish(self, done: Done, more: dict[str, Any]) -> list[Effect]:
        assert self.record is not None
        done = replace(done, **more)
        self._done[done.id] = done
        self._working.pop(done.id, None)
        return [Send(terms.chief(self.record), done)]

    def _states(self) -> dict[int, SpanState]:
        return {
            index: SpanState(span.branch, span.placed, span.applied.copy(), frozenset(span.skipped))
            for index, span in self.spans.items()
        }

    def _placed(self, order: Order, body: Place, parts: dict[int, PartData]) -> list[Effect]:
        assert body.source is not None
        space = Space.from_json(body.space)
        self._staged = {
            index: Span.restored(
                part, self._build(space, index, body.samples), body.branch, self.number, body.source.weights_only
            )
            for index, part in parts.items()
        }
        return self._finish(Done(self.number, order.id), {})

    def _begin_receiving(self, order: Order, body: Receive) -> list[Effect]:
        assert self.record is not None
        spans = terms.hosted(self.record, self.me, len(Space.from_json(body.space).spans))
        if not self._receiving.begin(order.id, body.number, spans):
            return []
        self._working[order.id] = order
        return [] if spans else self._finish(Done(self.number, order.id), {})

    # --- results and time -------------------------------------------------------------------------------------------

    def on_result(self, call: Call, result: Any, now: float) -> list[Effect]:
        if not isinstance(call, WriteParts | LoadParts) or call.order not in self._working:
            return []
        if call.term != self.number:
            return []
        order = self._working[call.order]
        if isinstance(result, Failed):
            return self._finish(Done(self.number, order.id), {"error": result.text, "error_kind": result.kind})
        if isinstance(order.body, Place):
            return self._placed(order, order.body, result)
        if isinstance(order.body, Receive) and not self._receiving.wants(order.id):
            return []
        files: dict[int, FileRef] = result
        return self._finish(Done(self.number, order.id), {"files": files})

    def on_tick(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self.record is None:
            return effects
        if not self._joined and now - self._joined_at >= self._resend:
            effects += self._join(now)
        chief = terms.chief(self.record)
        return [*effects, *(Send(chief, report) for report in self._reports.due(now))]
