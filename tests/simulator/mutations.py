"""Each rule left out once: one method of the real code replaced by one that does not keep it.

A mutation is caught when a trace fails, or a random schedule does. `caught(name)` says by what.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from deepseek_operator.reconcile.draft import Draft
from deepseek_operator.reconcile.policies import lifecycle
from deepseek_operator.reconcile.policies import terms as term_policy
from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol import lineage
from deepseek_runtime.protocol.chief import Chief
from deepseek_runtime.protocol.effects import Clean, Effect, FindCheckpoint, Send, WriteBase, WriteIndex, WriteState
from deepseek_runtime.protocol.ending import Ending
from deepseek_runtime.protocol.ledger import Ledger
from deepseek_runtime.protocol.lineage import Step
from deepseek_runtime.protocol.messages import Ask, Beat, Grant, Lease, Welcome
from deepseek_runtime.protocol.opening import Opening
from deepseek_runtime.protocol.orders import Orders
from deepseek_runtime.protocol.pusher import Pusher
from deepseek_runtime.protocol.saving import Saving
from deepseek_runtime.protocol.serving import Server
from deepseek_runtime.protocol.span import Span
from deepseek_runtime.protocol.tickets import Tickets
from simulator import schedule
from simulator.etcd import Etcd
from simulator.processes import ServerProcess
from simulator.traces import TRACES

SEEDS = 60
"""Random schedules that are tried when no trace catches a mutation."""


@dataclass(frozen=True, slots=True)
class Mutation:
    rule: str
    """As protocol.md counts it."""
    owner: Any
    """Class or module."""
    name: str
    make: Callable[[Any], Any]
    """From the original to what stands in its place."""
    traces: tuple[str, ...] = ()
    """Those that are tried first; all others follow."""


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda original: lambda *args, **keywords: value


def _static(value: Any) -> Callable[[Any], Any]:
    return lambda original: staticmethod(lambda *args, **keywords: value)


# --- worker -----------------------------------------------------------------------------------------------------------


def _weight_of_the_lease(original: Any) -> Any:
    def take_back(self: Pusher, lease: Lease | None) -> None:
        original(self, lease)
        if lease is not None and self.pending is not None:
            self.pending.w = lease.w

    return take_back


def _asks_once(original: Any) -> Any:
    def on_tick(self: Pusher, now: float) -> list[Effect]:
        return [
            replace(e, message=replace(e.message, wants=False))
            if isinstance(e, Send) and isinstance(e.message, Beat)
            else e
            for e in original(self, now)
        ]

    return on_tick


def _old_sequence(original: Any) -> Any:
    def push(self: Pusher, lease: Lease | None, *rest: Any) -> list[Effect]:
        if lease is not None and self.__dict__.get("last_g") == lease.g:
            self._sequence -= 1
        self.__dict__["last_g"] = lease.g if lease is not None else None
        return original(self, lease, *rest)  # type: ignore[no-any-return]

    return push


def _silent(original: Any) -> Any:
    def answered(self: Pusher, pending: Any, now: float) -> list[Effect]:
        effects: list[Effect] = original(self, pending, now)
        self._given_up = 0
        return [
            replace(e, message=replace(e.message, given_up=0))
            if isinstance(e, Send) and isinstance(e.message, Beat)
            else e
            for e in effects
        ]

    return answered


def _welcomed_once(original: Any) -> Any:
    def on_welcome(self: Pusher, welcome: Welcome, now: float) -> list[Effect]:
        if self.welcomed and welcome.lease is not None:
            self._newest_lease = max(self._newest_lease, welcome.lease.number)
        return original(self, welcome, now)  # type: ignore[no-any-return]

    return on_welcome


def _sent_unwelcome(original: Any) -> Any:
    def push(self: Pusher, *arguments: Any) -> list[Effect]:
        welcomed, self.welcomed = self.welcomed, True
        try:
            return original(self, *arguments)  # type: ignore[no-any-return]
        finally:
            self.welcomed = welcomed

    return push


# --- server -----------------------------------------------------------------------------------------------------------


def _publishes_late(original: Any) -> Any:
    def publish(self: Span) -> None:
        if self.ordinal % 2 == 0:
            original(self)

    return publish


def _skip_not_applied(original: Any) -> Any:
    def skip(self: Span, g: int) -> None:
        self.skipped.add(g)

    return skip


def _residuals_after_close(original: Any) -> Any:
    def judge(self: Span, push: Any, current: bool) -> Any:
        return "applied" if push.lease is None else original(self, push, current)

    return judge


def _any_term(original: Any) -> Any:
    return lambda self, push: push.lease is None or push.lease.number not in self._ended


def _reports_once(original: Any) -> Any:
    def on_tick(self: Server, now: float) -> list[Effect]:
        self._reports.clear()
        return original(self, now)  # type: ignore[no-any-return]

    return on_tick


# --- chief ------------------------------------------------------------------------------------------------------------


def _free_at_once(original: Any) -> Any:
    def end(self: Ledger, number: int) -> Any:
        held = original(self, number)
        if held is not None:
            self.ended(number, ())
        return held

    return end


def _fresh_stamp(original: Any) -> Any:
    def claim(self: Ledger, worker: Member, old: Lease, live: int) -> Lease | None:
        return original(self, worker, replace(old, stamp=len(self.done)), live)  # type: ignore[no-any-return]

    return claim


def _skips_forgotten(original: Any) -> Any:
    def rebuild(self: Ledger, states: Any) -> dict[int, tuple[int, ...]]:
        original(self, states)
        return {}

    return rebuild


def _grant_once(original: Any) -> Any:
    def on_beat(self: Chief, worker: Member, beat: Beat, now: float) -> list[Effect]:
        return [
            e for e in original(self, worker, beat, now) if not (isinstance(e, Send) and isinstance(e.message, Grant))
        ]

    return on_beat


def _last_step_too(original: Any) -> Any:
    def multiple(self: Chief, before: int, after: int, every: int) -> int | None:
        return None if not every or before // every == after // every else after // every * every

    return multiple


def _leaves_early(original: Any) -> Any:
    def saved(self: Ending, now: float) -> list[Effect]:
        return [
            *original(self, now),
            *(Send(w, Ask(self.term, f"leave/{self.term}/{w}", "leave")) for w in sorted(self.workers.seen)),
        ]

    return saved


def _fence_ignored(original: Any) -> Any:
    def on_result(self: Ending, call: Any, result: Any, now: float) -> list[Effect]:
        if isinstance(call, WriteState) and result is False:
            result = True
        return original(self, call, result, now)  # type: ignore[no-any-return]

    return on_result


def _asked_once(original: Any) -> Any:
    asked: list[Ending] = []

    def ask_flush(self: Ending) -> list[Effect]:
        if any(one is self for one in asked):
            return []
        asked.append(self)
        return original(self)  # type: ignore[no-any-return]

    return ask_flush


def _done_again(original: Any) -> Any:
    def on_done(self: Orders, sender: Member, done: Any, now: float) -> list[Effect]:
        known = self._pending.get(done.id)
        effects: list[Effect] = original(self, sender, done, now)
        if known is not None and done.id not in self._pending:
            self._pending[done.id] = known
        return effects

    return on_done


def _indexes_twice(original: Any) -> Any:
    def maybe_index(self: Saving) -> list[Effect]:
        if self._running is not None:
            self._running.writing = False
        return original(self)  # type: ignore[no-any-return]

    return maybe_index


def _any_chiefs_answer(original: Any) -> Any:
    return lambda self, call: True


# --- opening, lineage, store ------------------------------------------------------------------------------------------


def _decides_at_once(original: Any) -> Any:
    return lambda self: [FindCheckpoint(self.number, frozenset())]


def _any_branch(original: Any) -> Any:
    def continues(self: Opening, spans: int) -> int | None:
        if self._record.restore or len(self._held) < spans:
            return None
        return max(state.placed for state in self._held.values())

    return continues


def _restore_ignored(original: Any) -> Any:
    def continues(self: Opening, spans: int) -> int | None:
        self._record = self._record.model_copy(update={"restore": False})
        return original(self, spans)  # type: ignore[no-any-return]

    return continues


def _base_first(original: Any) -> Any:
    def index(self: Opening, step: int, done: Any, now: float) -> list[Effect]:
        effects: list[Effect] = original(self, step, done, now)
        if any(isinstance(e, WriteIndex) for e in effects):
            return [WriteBase(self.number, (self.number, step), None)]
        return effects

    return index


def _first_term_only(original: Any) -> Any:
    return lambda self, now: original(self, now) if self.number == 1 else []


def _renames_always(original: Any) -> Any:
    def on_lost(self: Opening, worker: Member, now: float) -> list[Effect]:
        if worker == self._initialiser and self.phase == "indexing":
            self.phase = "naming"
        return original(self, worker, now)  # type: ignore[no-any-return]

    return on_lost


def _newest_of_all(original: Any) -> Any:
    def candidates(term: int, bases: Any, indexes: Any) -> Iterator[Step]:
        if lineage.parent_term(term, bases) is not None:
            yield from sorted(
                (Step(t, s) for t, steps in indexes.items() for s in steps), key=lambda n: (n.step, n.term)
            )[::-1]

    return candidates


def _cleans_at_once(original: Any) -> Any:
    return lambda self: [Clean(self._term)]


def _no_grace(original: Any) -> Any:
    def workers(self: ServerProcess) -> Any:
        self.job.grace = False
        return original(self)

    return workers


def _not_placed(original: Any) -> Any:
    def do(self: Server, body: Any) -> Any:
        before = {index: span.placed for index, span in self._staged.items()}
        result = original(self, body)
        for index, span in self.spans.items():
            if span.line != self.number and index in before:
                span.placed = before[index]
        return result

    return do


# --- operator ---------------------------------------------------------------------------------------------------------


def _finished_of_the_newest(original: Any) -> Any:
    def succeed(draft: Draft) -> None:
        state = draft.seen.view.state
        if state is None or state.finished is None or state.finished.term == draft.status.term.number:
            original(draft)

    return succeed


def _requests_of_any_term(original: Any) -> Any:
    def raise_term(draft: Draft) -> None:
        number = draft.status.term.number
        requests = {id: r.model_copy(update={"term": number}) for id, r in draft.seen.view.requests.items()}
        draft.seen = replace(draft.seen, view=replace(draft.seen.view, requests=requests))
        original(draft)

    return raise_term


MUTATIONS: dict[str, Mutation] = {
    "a repeated push is judged anew": Mutation("Server 1 (1)", Span, "remembered", _always(None)),
    "a range that is in is applied again": Mutation("Server 1", Span, "has", _always(False)),
    "an ended lease is current": Mutation("Server 1 (4)", Server, "is_current", _always(True)),
    "an ended lease is not outstanding": Mutation("Chief 3 (4)", Ledger, "end", _free_at_once),
    "a range given up is kept quiet": Mutation("Worker 5 (4)", Pusher, "_answered", _silent),
    "an applied range is skipped": Mutation("Chief 4 (5)", Ledger, "may_skip", _always(True)),
    "a skip leaves the applied set alone": Mutation("Server 4 (5)", Span, "skip", _skip_not_applied),
    "a skip found is not completed": Mutation("Chief 5 (5)", Ledger, "rebuild", _skips_forgotten),
    "a range being skipped is given away": Mutation("Chief 4 (5)", Ledger, "begin_skip", _always(None)),
    "a lease of an older term is current": Mutation("Server 1 (4)", Server, "is_current", _any_term),
    "a second welcome is not heard": Mutation("Worker 1 (15)", Pusher, "_on_welcome", _welcomed_once),
    "pushed between two terms": Mutation("Worker 5 (4)", Pusher, "_push", _sent_unwelcome),
    "two leases at once": Mutation("Worker 1 (16)", Chief, "may_lease", _always(True)),
    "computed anew under the old sequence": Mutation("Worker 4 (1)", Pusher, "_push", _old_sequence),
    "a residual is not flushed": Mutation(
        "Worker 7 (12)", Pusher, "_flush_residual", lambda original: lambda self, now: self._flushed(now)
    ),
    "the dense publish is sparse": Mutation("End (18)", Span, "publish_dense", lambda original: Span.publish),
    "opened before the base stands": Mutation(
        "Checkpoints 3 (9)", Opening, "_base", lambda original: lambda self, base: self._based(base, 0.0)
    ),
    "a roll-back is forgotten": Mutation("Terms 4 (6, 8)", Opening, "continues", _restore_ignored),
    "a server follows a lower term": Mutation(
        "Terms 1 (9)", Server, "follows", lambda original: lambda self, record: record.number != self.number
    ),
    "a server keeps an older naming": Mutation("Terms 7 (17)", Server, "newer_naming", _always(False)),
    "an older branch keeps what it has": Mutation(
        "Worker 6 (6)", Pusher, "must_discard", lambda original: lambda self, branch: self.branch == 0
    ),
    "an older branch claims its lease": Mutation(
        "Worker 6 (6)", Chief, "may_claim", lambda original: lambda self, hello: hello.claim is not None
    ),
    "branches are mixed": Mutation("Words: branch (6)", Server, "same_branch", _static(True)),
    "a push changes its weight": Mutation("Server 2 (7)", Pusher, "_take_back", _weight_of_the_lease),
    "holdings of two branches are continued": Mutation("Terms 4 (8)", Opening, "continues", _any_branch),
    "a continued term has not placed its spans": Mutation("Words: holding (8)", Server, "_do", _not_placed),
    "any index is picked": Mutation("Checkpoints 3 (9)", lineage, "candidates", _newest_of_all),
    "a chief decides unread": Mutation("Terms 5 (9)", Opening, "decide", _decides_at_once),
    "cleaned before etcd was read": Mutation("Checkpoints 4 (10)", Saving, "before_cleaning", _cleans_at_once),
    "a step is stored twice a term": Mutation("Checkpoints 2 (11)", Saving, "may_write", _always(True)),
    "a part reported twice counts twice": Mutation("Checkpoints 2 (11)", Orders, "on_done", _done_again),
    "workers leave before `finished` stands": Mutation("End (12)", Ending, "_saved", _leaves_early),
    "`finished` is not fenced by the term": Mutation("End (12)", Ending, "on_result", _fence_ignored),
    "`finished` is fenced by nobody": Mutation("End (12)", Etcd, "may_write", _always(True)),
    "only workers heard of are flushed": Mutation(
        "End (12, 20)", Ending, "to_flush", lambda original: lambda self, registered: set(self.workers.seen)
    ),
    "published only now and then": Mutation("Server 3 (14)", Span, "publish", _publishes_late),
    "the gate is open": Mutation("Chief 2 (14)", Ledger, "may_start_new", _always(True)),
    "the stamp begins anew": Mutation("Worker 6 (14)", Ledger, "claim", _fresh_stamp),
    "requests of older terms are heard": Mutation("Terms 6 (15)", term_policy, "raise_term", _requests_of_any_term),
    "a worker asks once": Mutation("Worker 1 (15)", Pusher, "on_tick", _asks_once),
    "a lease is granted once": Mutation("Worker 1 (15)", Chief, "_on_beat", _grant_once),
    "one span makes a range done": Mutation(
        "Chief 1 (16)", Ledger, "is_done", lambda original: lambda self, mask: mask != 0
    ),
    "a range is reported once": Mutation("Server 5 (16)", Server, "on_tick", _reports_once),
    "only term 1 initialises": Mutation("Terms 7 (17)", Opening, "_name_initialiser", _first_term_only),
    "the base before its index": Mutation("Terms 7 (17)", Opening, "_index", _base_first),
    "namings are mixed by servers": Mutation("Terms 7 (17)", Server, "same_naming", _static(True)),
    "another initialiser while the index is stored": Mutation("Terms 7 (17)", Opening, "on_lost", _renames_always),
    "a regular checkpoint at the last step": Mutation("Checkpoints 2 (18)", Chief, "multiple", _last_step_too),
    "residuals after the dense publish": Mutation("End (18)", Span, "judge", _residuals_after_close),
    "a lost evaluator keeps its ticket": Mutation("End (18)", Tickets, "lost", _always(None)),
    "`finished` of an older term is nothing": Mutation("End (20)", lifecycle, "succeed", _finished_of_the_newest),
    "registrations count at once after an outage": Mutation("End (20)", ServerProcess, "_workers", _no_grace),
    "a residual is asked for once": Mutation("End (20)", Ending, "_ask_flush", _asked_once),
    "answers to an earlier chief are heard": Mutation("Terms 5 (9)", Chief, "_is_ours", _any_chiefs_answer),
}


@contextmanager
def mutated(name: str) -> Iterator[None]:
    mutation = MUTATIONS[name]
    kept = mutation.owner.__dict__[mutation.name]
    original = kept.__func__ if isinstance(kept, staticmethod) else kept
    setattr(mutation.owner, mutation.name, mutation.make(original))
    try:
        yield
    finally:
        setattr(mutation.owner, mutation.name, kept)


def caught(name: str, seeds: int = SEEDS) -> str:
    """What reports a violation with this rule left out: `trace N ...` or `seed N`; empty when nothing does."""
    number = _numbers(MUTATIONS[name].rule)
    first = sorted(TRACES, key=lambda trace: trace.split("_")[0] not in number)
    with mutated(name):
        for trace in first:
            try:
                TRACES[trace]()
            except AssertionError:  # a Violation, or what the trace says itself
                return f"trace {trace}"
        for seed in range(seeds):
            if schedule.run(seed).violation:
                return f"seed {seed}"
    return ""


def _numbers(rule: str) -> list[str]:
    inside = rule[rule.find("(") + 1 : rule.rfind(")")] if "(" in rule else ""
    return [number.strip() for number in inside.split(",")]
