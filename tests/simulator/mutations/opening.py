"""A term that opens against a rule, and a lineage that is read against one."""

from collections.abc import Iterator
from typing import Any

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol import lineage
from deepseek_runtime.protocol.effects import Effect, FindCheckpoint, WriteBase, WriteIndex
from deepseek_runtime.protocol.lineage import Step
from deepseek_runtime.protocol.opening import Opening
from simulator.mutations.mutation import Mutation


def _decides_at_once(original: Any) -> Any:
    return lambda self: [FindCheckpoint(self.number, frozenset())]


def _any_branch(original: Any) -> Any:
    def continues(self: Opening, spans: int) -> int | None:
        taken = self._held.newest().values()
        if self._record.restore or len(taken) < spans:
            return None
        return max(one.state.placed for one in taken)

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


MUTATIONS = {
    "opened before the base stands": Mutation(
        "Checkpoints 3 (9)", Opening, "_base", lambda original: lambda self, base: self._based(base, 0.0)
    ),
    "a roll-back is forgotten": Mutation("Terms 4 (6, 8)", Opening, "continues", _restore_ignored),
    "holdings of two branches are continued": Mutation("Terms 4 (8)", Opening, "continues", _any_branch),
    "any index is picked": Mutation("Checkpoints 3 (9)", lineage, "candidates", _newest_of_all),
    "a chief decides unread": Mutation("Terms 5 (9)", Opening, "decide", _decides_at_once),
    "only term 1 initialises": Mutation("Terms 7 (17)", Opening, "_name_initialiser", _first_term_only),
    "the base before its index": Mutation("Terms 7 (17)", Opening, "_index", _base_first),
    "another initialiser while the index is stored": Mutation("Terms 7 (17)", Opening, "on_lost", _renames_always),
}
