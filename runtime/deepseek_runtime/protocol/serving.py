"""A server: its spans, what workers push and pull, and what its chief orders.

One term at a time. A server follows the newest term it has seen and never a lower one (protocol.md, Terms 1);
what it holds of older terms it keeps until the chief says drop.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from deepseek_runtime.compression import NonFinite, PayloadError
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import TermRecord
from deepseek_runtime.protocol import telling
from deepseek_runtime.protocol import term as terms
from deepseek_runtime.protocol.backing import Backing
from deepseek_runtime.protocol.effects import (
    Call,
    Effect,
    Failed,
    LoadParts,
    LogPush,
    Note,
    Send,
    WriteParts,
)
from deepseek_runtime.protocol.files import FileRef
from deepseek_runtime.protocol.forwarding import Forwarding
from deepseek_runtime.protocol.messages import (
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
from deepseek_runtime.protocol.neighbours import Answer, Confirmed, Fetch, Forward, HandOver, ToNeighbour
from deepseek_runtime.protocol.pieces import PIECE, pieces
from deepseek_runtime.protocol.placing import BuildParts, Placing, Ready
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
)
from deepseek_runtime.protocol.span import Span
from deepseek_runtime.protocol.speakers import has_weight
from deepseek_runtime.space import Space


class Server:
    """`me` is this process; `build` makes codec and rule of a span when the space is known."""

    def __init__(self, me: Member, build: BuildParts, resend: float = 1.0, piece: int = PIECE) -> None:
        self.me = me
        self.record: TermRecord | None = None
        self.spans: dict[int, Span] = {}
        self.admitted = False
        self.wire_bytes = 0
        self._wire_before = 0
        self._build = build
        self._resend = resend
        self._piece = piece
        self.backing = Backing(self._backed_up)
        self._forwarding = Forwarding(resend)
        self._placing: Placing | None = None
        self._ready = Ready()
        """What Place made ready; holds nothing until the base of the term is stored and the chief says Drop."""
        self._settled = False
        """Dropped: what it holds is this term's."""
        self._log: list[Effect] = []
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
        self._placing, self._ready, self._settled = None, Ready(), False
        self._forwarding.stop()
        self._joined = self.me not in terms.named(record)
        return [] if self._joined else self._join(now)

    def _join(self, now: float) -> list[Effect]:
        assert self.record is not None
        self._joined_at = now
        return [Send(terms.chief(self.record), Joined(self.record.number))]

    # --- messages ---------------------------------------------------------------------------------------------------

    def on_message(self, sender: Member, message: Message, now: float) -> Iterable[Effect]:
        """To be carried out before the next message: what answers a pull is made while it is sent."""
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
        if isinstance(message, Forward | Confirmed | Fetch | HandOver):
            return self._on_neighbour(sender, message, now)
        if isinstance(message, Order) and message.term == self.number and sender == terms.chief(self.record):
            return self._on_order(message, now)
        if isinstance(message, Order) and message.term > self.number:
            # Etcd has not told us yet: whoever speaks in an older term is told of the newer one.
            return [Send(sender, Joined(self.number))]
        if isinstance(message, ReportTaken) and message.term == self.number:
            self._reports.taken(message.number)
        return []

    def _on_neighbour(self, sender: Member, message: ToNeighbour, now: float) -> list[Effect]:
        """What servers say to one another, of the present term only."""
        assert self.record is not None
        if message.term != self.number:
            return [Send(sender, NewTerm(self.record))] if message.term < self.number else []
        if isinstance(message, Confirmed):
            return self._told(self._forwarding.on_confirmed(sender, message), now)
        if isinstance(message, Fetch):
            span = self._holdings().get(message.span)
            return [Send(sender, span.hand_over(self.number))] if span is not None and not self._settled else []
        if isinstance(message, HandOver):
            if self._placing is None:
                return []
            return [*self._placing.take(sender, message, now), *self._maybe_placed(now)]
        if not self._settled or terms.neighbour(self.record, sender) != self.me:
            return []
        confirmed = self.backing.take(message)
        log, self._log = self._log, []
        return [*log, Send(sender, confirmed)]

    def _backed_up(self, change: Forward, spans: tuple[Span, ...]) -> None:
        """The neighbour writes down what it took: its owner's journal may be lost with it."""
        if change.push is not None and change.g is not None:
            push = change.push
            self._log.append(LogPush(telling.log_line(self.number, push.worker, push.sequence, change.g, spans)))

    def _say(self, effects: list[Effect], now: float) -> list[Effect]:
        """Server 6: once the neighbour has what was applied before."""
        return self._told(self._forwarding.say(effects), now)

    def _told(self, effects: list[Effect], now: float) -> list[Effect]:
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, AppliedReport):
                self._reports.told(effect.message, now)
        return effects

    def _holdings(self) -> dict[int, Span]:
        return {**self.backing.spans, **self.spans}

    def is_current(self, push: Push) -> bool:
        """Server 1: of this term, and not ended as far as this server knows. A residual needs no lease."""
        return push.lease is None or (push.lease.term == self.number and push.lease.number not in self._ended)

    def _on_push(self, sender: Member, push: Push, now: float) -> list[Effect]:
        effects: list[Effect] = []
        answers: dict[int, Answer] = {}
        applied: list[int] = []
        if not has_weight(push):
            return [Note("PushRefused", f"{sender} sent a push of weight {push.w}, which is none", True)]
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
        said: list[Effect] = []
        if applied:
            effects += self._applied(sender, push, applied, now)
            said.append(self._report(sender, push, applied))
        if answers:
            said.append(Send(sender, Answers(self.number, push.branch, push.sequence, answers)))
        return [*effects, *self._say(said, now)] if said else effects

    def _applied(self, sender: Member, push: Push, applied: list[int], now: float) -> list[Effect]:
        """Written down, and forwarded to the neighbour."""
        spans = [self.spans[index] for index in applied]
        effects: list[Effect] = []
        if push.lease is not None:
            effects.append(LogPush(telling.log_line(self.number, sender, push.sequence, push.lease.g, spans)))
        return [*effects, *self._forwarding.forward(telling.forward_push(self.number, sender, push, spans), now)]

    @staticmethod
    def same_branch(span: Span, branch: int) -> bool:
        """Different branches must not be mixed."""
        return span.branch == branch

    def _report(self, sender: Member, push: Push, applied: list[int]) -> Effect:
        """Server 5: each applied (range, span), repeated until acknowledged."""
        assert self.record is not None
        number, wire = self._reports.next_number(), self.wire_bytes - self._wire_before
        report = telling.report(self.number, number, sender, push, applied, self.spans, wire)
        return Send(terms.chief(self.record), report)

    def _on_pull(self, sender: Member, pull: Pull) -> Iterable[Effect]:
        assert self.record is not None
        for index in pull.versions:
            span = self.spans.get(index)
            if span is None or not self.same_branch(span, pull.branch):
                return [Send(sender, NewTerm(self.record))]
        return self._publish(sender, pull)

    def _publish(self, sender: Member, pull: Pull) -> Iterator[Effect]:
        try:
            yield from self._published(sender, pull)
        except NonFinite:
            # Whatever brought it there: who pulls waits, and people are told, instead of a server that crashes.
            yield Note("WeightsNotFinite", f"{self.me} holds weights that are not finite, and publishes none", True)

    def _published(self, sender: Member, pull: Pull) -> Iterator[Effect]:
        for group in pieces(self._updates(pull), self._piece):
            updates = dict(group)
            integers = self.spans[0].integers if 0 in updates else None
            # A copy: the reply may be on its way while the next push changes them.
            copied = None if integers is None else integers.copy()
            yield Send(sender, Published(self.number, pull.branch, pull.number, updates, copied))

    def _updates(self, pull: Pull) -> Iterator[tuple[tuple[int, Update], int]]:
        for index, held in pull.versions.items():
            span = self.spans[index]
            update = span.update_since(held) or Update(Version(span.line, span.count))
            size = len(update.copy) if update.copy is not None else sum(map(len, update.payloads))
            yield (index, update), size

    # --- orders -----------------------------------------------------------------------------------------------------

    def _on_order(self, order: Order, now: float) -> list[Effect]:
        assert self.record is not None
        self._joined = True
        chief = terms.chief(self.record)
        if order.id in self._done:
            again: list[Effect] = [Send(chief, self._done[order.id])]
            return self._say(again, now) if self.admitted else again
        if order.id in self._working:
            return []
        body = order.body
        if isinstance(body, Receive):
            return self._begin_receiving(order, body, now)
        if isinstance(body, Place):
            return self._place(order, body, now)
        if isinstance(body, Save):
            self._working[order.id] = order
            # Before it is admitted only a restoreFrom is saved: what Place made ready.
            spans = self.spans if self.admitted else self._ready.own
            parts = tuple(span.snapshot() for span in spans.values())
            # A checkpoint says that pushes are in, too.
            write: list[Effect] = [WriteParts(order.id, self.number, body.step, parts)]
            return self._say(write, now) if self.admitted else write
        effects: list[Effect] = []
        if isinstance(body, Drop):
            effects += self._drop()
        elif isinstance(body, Admit):
            self.admitted = True
            effects += self._forwarding.go_on(now)
        elif isinstance(body, Skip):
            effects += self._skip(body, now)
        return [*effects, *self._finish(Done(self.number, order.id), self._do(body), now)]

    def _drop(self) -> list[Effect]:
        """Terms 3: what was made ready is what this server holds; older holdings go."""
        assert self.record is not None
        ready, self._placing, self._settled = self._ready, None, True
        kept = {index for index, span in ready.own.items() if self.spans.get(index) is span}
        self.spans = ready.own
        moved = [span for span in self.spans.values() if not span.serving]
        for span in self.spans.values():
            span.closed = False
            self.place(span)
        for span in moved:
            span.begin_line(self.number)
        for span in ready.backups.values():
            span.stop_serving()
            self.place(span)
        self.backing.hold(ready.backups)
        neighbour = terms.neighbour(self.record, self.me) if ready.forwards else None
        self._forwarding.begin(self.number, neighbour, kept)
        if not moved:
            return []
        return [LogPush(telling.continued_line(self.number, moved))]

    def place(self, span: Span) -> None:
        """A term that only continues has placed it too: the next one's base must name that, not its forerunner."""
        span.placed = self.number

    def _skip(self, body: Skip, now: float) -> list[Effect]:
        """Server 4: a skip enters the applied set like a push, and the neighbour's."""
        changed = [self.spans[index] for index in body.spans if index in self.spans and self.spans[index].skip(body.g)]
        if not changed:
            return []
        numbers = {span.index: span.changes for span in changed}
        return self._forwarding.forward(Forward(self.number, changed[0].branch, numbers, body.g, None), now)

    def _do(self, body: object) -> dict[str, Any]:
        """The orders that are done at once; what Done says of them."""
        if isinstance(body, Admit):
            return {"spans": telling.states(self.spans)}
        if isinstance(body, Holdings):
            return {"spans": {**telling.states(self.backing.spans, True), **telling.states(self.spans)}}
        if isinstance(body, EndLease):
            self._ended.add(body.number)
            return {"having": tuple(index for index, span in self.spans.items() if span.has(body.g))}
        if isinstance(body, Close):
            for span in self.spans.values():
                span.closed = True
                span.publish_dense()
        return {}

    def _finish(self, done: Done, more: dict[str, Any], now: float) -> list[Effect]:
        assert self.record is not None
        done = replace(done, **more)
        self._done[done.id] = done
        self._working.pop(done.id, None)
        said: list[Effect] = [Send(terms.chief(self.record), done)]
        return self._say(said, now) if self.admitted else said

    def _place(self, order: Order, body: Place, now: float) -> list[Effect]:
        self._placing = placing = Placing(order.id, self.number, body, self._build, self._resend)
        self._working[order.id] = order
        if body.source is not None:
            if not placing.wanted:
                return self._placed(order, placing.from_store({}), now)
            return [LoadParts(order.id, self.number, body.source, placing.wanted)]
        missing = placing.missing(self._holdings())
        if missing:
            error = {"error": f"spans {missing} are not here", "error_kind": "missing"}
            return self._finish(Done(self.number, order.id), error, now)
        return [*placing.ask(now), *self._maybe_placed(now)]

    def _maybe_placed(self, now: float) -> list[Effect]:
        placing = self._placing
        if placing is None or not placing.complete or placing.order not in self._working:
            return []
        return self._placed(self._working[placing.order], placing.from_servers(self._holdings()), now)

    def _placed(self, order: Order, ready: Ready, now: float) -> list[Effect]:
        self._ready = ready
        return self._finish(Done(self.number, order.id), {}, now)

    def _begin_receiving(self, order: Order, body: Receive, now: float) -> list[Effect]:
        assert self.record is not None
        spans = terms.hosted(self.record, self.me, len(Space.from_json(body.space).spans))
        if not self._receiving.begin(order.id, body.number, spans):
            return []
        self._working[order.id] = order
        return [] if spans else self._finish(Done(self.number, order.id), {}, now)

    # --- results and time -------------------------------------------------------------------------------------------

    def on_result(self, call: Call, result: Any, now: float) -> list[Effect]:
        if not isinstance(call, WriteParts | LoadParts) or call.order not in self._working:
            return []
        if call.term != self.number:
            return []
        order = self._working[call.order]
        if isinstance(result, Failed):
            return self._finish(Done(self.number, order.id), {"error": result.text, "error_kind": result.kind}, now)
        if isinstance(order.body, Place):
            if self._placing is None or self._placing.order != order.id:
                return []
            return self._placed(order, self._placing.from_store(result), now)
        if isinstance(order.body, Receive) and not self._receiving.wants(order.id):
            return []
        files: dict[int, FileRef] = result
        return self._finish(Done(self.number, order.id), {"files": files}, now)

    def on_tick(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self.record is None:
            return effects
        if not self._joined and now - self._joined_at >= self._resend:
            effects += self._join(now)
        if self._placing is not None:
            effects += self._placing.ask(now)
        effects += self._forwarding.due(now)
        chief = terms.chief(self.record)
        return [*effects, *(Send(chief, report) for report in self._reports.due(now))]
