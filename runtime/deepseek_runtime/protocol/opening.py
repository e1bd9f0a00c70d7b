"""How a term opens: what is there, what it begins from, and three steps that every named server confirms.

    ask holdings -> read own term in etcd -> continue | restore | initialise
    place (made ready) -> base stored -> drop (older holdings gone) -> admit (pushes on, ledger rebuilt)

Nothing is admitted before the base of the term is stored (protocol.md, Terms 3 to 7, Checkpoints 3).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from deepseek_runtime.contract import exit_codes
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import TermRecord
from deepseek_runtime.protocol import term as terms
from deepseek_runtime.protocol.choosing import Holdings as Held
from deepseek_runtime.protocol.choosing import origins
from deepseek_runtime.protocol.effects import (
    Call,
    Effect,
    Fail,
    Failed,
    FindCheckpoint,
    Found,
    Note,
    ReadTerm,
    Send,
    WriteBase,
    WriteIndex,
)
from deepseek_runtime.protocol.files import FileRef, Source
from deepseek_runtime.protocol.messages import Ask
from deepseek_runtime.protocol.orders import Orders
from deepseek_runtime.protocol.server_orders import (
    Admit,
    Done,
    Drop,
    Holdings,
    OrderBody,
    Place,
    Receive,
    Save,
    SpanState,
)
from deepseek_runtime.protocol.settings import Settings
from deepseek_runtime.protocol.workers import Workers
from deepseek_runtime.space import Space

STORE_TRIES = 5
STORE_PATIENCE = 20.0
"""Tries, or seconds, of a job that has no checkpoint yet; a running one never gives its store up."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What the term begins with."""

    branch: int
    space: Space
    samples: int
    fixed: FileRef | None
    moments: FileRef | None
    restored: tuple[int, int] | None
    states: Mapping[int, SpanState]
    loss_scale: float | None = None
    tied: Mapping[str, str] = field(default_factory=dict)
    newest: tuple[int, int] | None = None
    """Of the lineage's checkpoints, when the state only continues: the parent of the next one."""
    created: float | None = None
    """When the checkpoint was stored, in seconds since the Unix epoch."""


class Opening:
    """`result` is set when the term has opened."""

    def __init__(self, record: TermRecord, settings: Settings, orders: Orders, workers: Workers) -> None:
        self.result: Opened | None = None
        self.phase: Literal["asking", "reading", "finding", "naming", "offered", "indexing", "basing", "placing"] = (
            "asking"
        )
        self._record = record
        self._servers = terms.servers(record)
        self._named = terms.named(record)
        self._settings = settings
        self._orders = orders
        self._workers = workers
        self._held = Held()
        self._known: tuple[Mapping[str, Any], int, FileRef | None] | None = None
        self._skip: set[tuple[int, int]] = set()
        self._retry: tuple[float, Call] | None = None
        self._tries = 0
        self._asked_at = 0.0
        self._naming = 0
        self._initialiser: Member | None = None
        self._opened: Opened | None = None
        self._source: Source | None = None
        self._continues: int | None = None
        self._initialised = False

    @property
    def number(self) -> int:
        return self._record.number

    # --- what is there ----------------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Terms 4: the named servers and sources, and nobody else, are asked what they hold."""
        return self._orders.to_all(self._named, Holdings(), self._on_holdings, now)

    def _on_holdings(self, done: dict[Member, Done], now: float) -> list[Effect]:
        self._held = Held.of(done)
        return self.decide()

    def decide(self) -> list[Effect]:
        """Terms 5: only after reading our own term in etcd."""
        self.phase = "reading"
        return [ReadTerm("open")]

    def continues(self, spans: int) -> int | None:
        """Terms 4: every span there, on one branch: the highest term among them. Otherwise None: restore."""
        taken = [holding.state for holding in self._held.newest().values()]
        if self._record.restore or len(taken) < spans or not taken:
            return None
        if len({state.branch for state in taken}) > 1:
            return None
        return max(state.placed for state in taken)

    def on_result(self, call: Call, result: Any, now: float) -> list[Effect]:
        if isinstance(call, ReadTerm):
            return self._on_own_term(call, result, now)
        if isinstance(result, Failed):
            return self._on_failed(call, result, now)
        self._asked_at = now  # the store answers: our patience with it begins anew
        if isinstance(call, FindCheckpoint):
            self.phase = "finding"
            return self._on_found(result, now) if isinstance(result, Found) else self._name_initialiser(now)
        if isinstance(call, WriteIndex):
            return self._base(WriteBase(self.number, (self.number, call.step), None))
        if isinstance(call, WriteBase):
            return self._based(call, now)
        return []

    def _on_own_term(self, call: Call, result: Any, now: float) -> list[Effect]:
        if isinstance(result, Failed) or result is None:
            self._retry = (now + 0.5, call)
            return []
        if result.number != self.number:
            return []
        self._asked_at = now
        return [self._find()]

    def _find(self) -> FindCheckpoint:
        """What was initialised in this term is looked for as the next term would: never initialised again."""
        return FindCheckpoint(self.number + 1 if self._initialised else self.number, frozenset(self._skip))

    def _on_failed(self, call: Call, failed: Failed, now: float) -> list[Effect]:
        """The store does not answer. A job that never had a checkpoint ends; any other waits for its store, unless
        that answers and has nothing left to go on from."""
        self._tries += 1
        self._retry = (now + min(30.0, 0.5 * 2**self._tries), call)
        tried = self._tries >= STORE_TRIES or now - self._asked_at >= STORE_PATIENCE
        fatal = failed.kind in ("scheme", "denied", "missing") or tried
        gone = failed.kind in ("missing", "damaged") and tried
        if isinstance(call, FindCheckpoint) and not self._held and (gone or (fatal and self.number == 1)):
            self._retry = None
            return [Fail(exit_codes.MISSING_INPUT, "StoreUnusable", failed.text)]
        return [Note("StoreUnreachable", f"term {self.number} cannot open: {failed.text}; trying again", True)]

    def _on_found(self, found: Found, now: float) -> list[Effect]:
        if found.foreign and not self._workers.seen:
            # Whether it is the same data, only a worker can say.
            self._retry = (now + 0.5, self._find())
            return []
        effects: list[Effect] = [Note("CheckpointDamaged", f"passed over: {why}", True) for why in found.passed_over]
        if found.foreign:
            samples = self._workers.seen[min(self._workers.seen)].hello.samples
            if found.source.weights_only or samples != found.samples:
                source = replace(found.source, weights_only=True)
                found = replace(found, source=source, samples=samples, moments=None)
                text = (
                    "restoreFrom: other samples, batchSize, localSteps or seed: only the weights are taken, from step 0"
                )
                effects.append(Note("WeightsOnly", text, True))
        if found.source.cut >= 0:
            text = f"the earlier job ended within range {found.source.cut}: it is trained again, whole"
            effects.append(Note("RangeAgain", text, True))
        return [*effects, *self._begin_from(found, now)]

    def _begin_from(self, found: Found, now: float) -> list[Effect]:
        space = Space.from_json(found.space)
        going_on = self.continues(len(space.spans))
        source = None if going_on is not None else found.source
        self._source = source
        branch = next(iter(self._held.newest().values())).state.branch if source is None else self.number
        restored = None
        if source is not None and not found.foreign:
            restored = (source.term, source.step)
        self._opened = Opened(
            branch,
            space,
            found.samples,
            found.fixed,
            found.moments,
            restored,
            {},
            found.loss_scale,
            found.tied,
            None if found.foreign else (found.source.term, found.source.step),
            found.created,
        )
        self._continues = going_on
        return self._place(found.space, branch, source, found.foreign and source is not None, now)

    def _place(self, space: Any, branch: int, source: Source | None, foreign: bool, now: float) -> list[Effect]:
        self.phase = "placing"
        assert self._opened is not None
        count = len(self._opened.space.spans)
        bodies: dict[Member, OrderBody] = {}
        for server in self._named:
            spans, backups = terms.hosted(self._record, server, count), self.backups(server, count)
            both = (*spans, *backups)
            part = None
            if source is not None:
                part = replace(source, parts={span: source.parts[span] for span in both})
            from_others = origins(self._record, server, both, self._held) if source is None else {}
            bodies[server] = Place(
                branch, space, spans, part, self._opened.samples, backups, from_others, self._settings.backup
            )
        return self._orders.give(bodies, self._on_foreign if foreign else self._on_placed, now)

    def backups(self, server: Member, count: int) -> tuple[int, ...]:
        """Terms 3: every span **and its backup** is made ready."""
        return terms.backed_up(self._record, server, count) if self._settings.backup else ()

    def _on_placed(self, done: dict[Member, Done], now: float) -> list[Effect]:
        broken = [answer for answer in done.values() if answer.error]
        if broken:
            return self._pass_over(broken[0], now)
        assert self._opened is not None
        if self._source is None:
            return self._base(WriteBase(self.number, None, self._continues))
        return self._base(WriteBase(self.number, self._opened.restored, None))

    def _pass_over(self, broken: Done, now: float) -> list[Effect]:
        """A damaged checkpoint: the one before it, and say so. An unreachable store: again."""
        source = self._source
        if source is None or broken.error_kind not in ("damaged", "missing"):
            # A store that does not answer, or a holding that is not where the term wants it.
            if source is None:
                self._record = self._record.model_copy(update={"restore": True})
            self._tries += 1
            self._retry = (now + min(30.0, 0.5 * 2**self._tries), self._find())
            return [Note("StoreUnreachable", f"term {self.number} cannot open: {broken.error}; trying again", True)]
        self._skip.add((source.term, source.step))
        text = f"checkpoint of step {source.step} (term {source.term}) is passed over: {broken.error}"
        return [Note("CheckpointDamaged", text, True), self._find()]

    # --- restoreFrom: what was placed becomes the term's own first checkpoint ----------------------------------------

    def _on_foreign(self, done: dict[Member, Done], now: float) -> list[Effect]:
        broken = [answer for answer in done.values() if answer.error]
        if broken:
            return self._pass_over(broken[0], now)
        assert self._source is not None
        step = 0 if self._source.weights_only else self._source.step

        def stored(answers: dict[Member, Done], now: float) -> list[Effect]:
            return self._index(step, answers, now)

        return self._orders.to_all(self._servers, Save(step), stored, now)

    def _index(self, step: int, done: dict[Member, Done], now: float) -> list[Effect]:
        files: dict[int, FileRef] = {}
        for answer in done.values():
            if answer.error:
                return self._store_failed(answer, now)
            files.update(answer.files)
        assert self._opened is not None
        # From here on it does not matter whether the initialiser lives: naming another would write over these parts.
        self.phase = "indexing"
        opened = self._opened
        self._opened = replace(opened, restored=(self.number, step))
        return [
            WriteIndex(
                self.number,
                step,
                None,
                opened.space.to_json(),
                opened.samples,
                files,
                opened.fixed,
                opened.moments,
                opened.loss_scale,
                opened.tied,
            )
        ]

    def _store_failed(self, answer: Done, now: float) -> list[Effect]:
        self._tries += 1
        if self._tries >= STORE_TRIES:
            return [Fail(exit_codes.MISSING_INPUT, "StoreUnusable", f"checkpoint.storage: {answer.error}")]
        self._retry = (now + min(30.0, 0.5 * 2**self._tries), self._find())
        return [Note("StoreUnreachable", f"the first checkpoint cannot be stored: {answer.error}; trying again", True)]

    # --- no base anywhere: one worker initialises --------------------------------------------------------------------

    def _name_initialiser(self, now: float) -> list[Effect]:
        """Terms 7: one registered worker, another if it is lost. Each naming has a number."""
        self.phase = "naming"
        self._source = self._continues = None
        candidates = sorted(self._workers.seen)
        if not candidates:
            return []
        self._naming += 1
        self._initialiser = candidates[0]
        self._orders.cancel()
        return [Send(self._initialiser, self._initialise())]

    def _initialise(self) -> Ask:
        return Ask(self.number, f"initialise/{self.number}/{self._naming}", "initialise", number=self._naming)

    def on_offer(self, worker: Member, body: Mapping[str, Any], now: float) -> list[Effect]:
        """The initialiser says what its model looks like; servers make ready, then it sends the weights."""
        if worker != self._initialiser or body.get("number") != self._naming or self.phase != "naming":
            return []
        self.phase = "offered"
        space = Space.from_json(body["space"])
        fixed = FileRef(**body["fixed"]) if body.get("fixed") else None
        self._opened = Opened(self.number, space, int(body["samples"]), fixed, None, None, {}, None, body["tied"])
        naming = self._naming

        def stored(done: dict[Member, Done], now: float) -> list[Effect]:
            return self._index(0, done, now) if self.same_naming(naming) else []

        effects = self._orders.to_all(self._servers, Receive(naming, body["space"]), stored, now)
        return [*effects, Send(worker, self._send_initial())]

    def same_naming(self, naming: int) -> bool:
        """Terms 7: the index waits for all parts of one number."""
        return naming == self._naming

    def _send_initial(self) -> Ask:
        return Ask(self.number, f"send/{self.number}/{self._naming}", "send_initial", number=self._naming)

    # --- base, drop, admit ------------------------------------------------------------------------------------------

    def _base(self, base: WriteBase) -> list[Effect]:
        """Checkpoints 3: stored before anything opens."""
        self.phase = "basing"
        return [base]

    def _based(self, call: WriteBase, now: float) -> list[Effect]:
        if self._source is None and self._continues is None:
            # Initialised: now it is a checkpoint like any other, and takes the same path.
            self._initialised = True
            return [self._find()]
        return self._drop(now)

    def _drop(self, now: float) -> list[Effect]:
        self.phase = "placing"
        return self._orders.to_all(self._named, Drop(), self._on_dropped, now)

    def _on_dropped(self, done: dict[Member, Done], now: float) -> list[Effect]:
        return self._orders.to_all(self._servers, Admit(), self._on_admitted, now)

    def _on_admitted(self, done: dict[Member, Done], now: float) -> list[Effect]:
        states = {span: state for answer in done.values() for span, state in answer.spans.items()}
        assert self._opened is not None
        self.result = replace(self._opened, states=states)
        return []

    # --- time -------------------------------------------------------------------------------------------------------

    def on_hello(self, now: float) -> list[Effect]:
        if self.phase == "naming" and self._initialiser is None:
            return self._name_initialiser(now)
        return []

    def on_lost(self, worker: Member, now: float) -> list[Effect]:
        """The initialiser may die half-way: another is named, and what the first sent counts for nothing."""
        if worker != self._initialiser or self.phase not in ("naming", "offered"):
            return []
        self._initialiser = None
        return self._name_initialiser(now)

    def on_tick(self, now: float) -> list[Effect]:
        if self._retry is not None and now >= self._retry[0]:
            call = self._retry[1]
            self._retry = None
            return [call]
        if self._initialiser is not None and self.phase == "naming":
            return [Send(self._initialiser, self._initialise())]
        if self._initialiser is not None and self.phase == "offered":
            return [Send(self._initialiser, self._send_initial())]
        return []
