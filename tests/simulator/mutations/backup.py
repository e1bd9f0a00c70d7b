"""Backups and hand-overs against a rule."""

from dataclasses import replace
from typing import Any

from deepseek_operator.reconcile.policies import terms as term_policy
from deepseek_runtime.protocol import choosing
from deepseek_runtime.protocol import term as terms
from deepseek_runtime.protocol.backing import Backing
from deepseek_runtime.protocol.forwarding import Forwarding
from deepseek_runtime.protocol.opening import Opening
from deepseek_runtime.protocol.pushing import Pushing
from deepseek_runtime.protocol.server_orders import Drop
from deepseek_runtime.protocol.serving import Server
from deepseek_runtime.protocol.span import Span
from simulator.mutations.mutation import Mutation, always


def _forgets(original: Any) -> Any:
    return lambda self, term, neighbour, kept: original(self, term, neighbour, ())


def _same_line(original: Any) -> Any:
    def begin_line(self: Span, term: int) -> None:
        original(self, term)
        if self.changes:
            self.line, self.count = self.branch, self.changes

    return begin_line


def _one_answer(original: Any) -> Any:
    def take(self: Pushing, answers: Any, branch: int) -> Any:
        one = next(iter(answers.answers.values()))
        return original(self, replace(answers, answers=dict.fromkeys(answers.answers, one)), branch)

    return take


def _servers_drop(original: Any) -> Any:
    return lambda self, now: self._orders.to_all(self._servers, Drop(), self._on_dropped, now)


def _at_once(original: Any) -> Any:
    def remove_replaced(draft: Any) -> None:
        before = draft.status
        draft.change(opened=before.term.number)
        original(draft)
        draft.change(opened=before.opened)

    return remove_replaced


def _skip_alone(original: Any) -> Any:
    def skip(self: Server, body: Any, now: float) -> Any:
        original(self, body, now)
        for index in body.spans:
            if index in self.spans and body.g in self.spans[index].skipped:
                self.spans[index].changes -= 1
        return []

    return skip


MUTATIONS = {
    "said before the backup has it": Mutation(
        "Server 6 (13)", Forwarding, "say", lambda original: lambda self, effects: effects
    ),
    "a backup takes what comes": Mutation(
        "Server 6 (13)",
        Backing,
        "is_next",
        lambda original: staticmethod(lambda changes, number: number > changes),
    ),
    "a change is forwarded once": Mutation("Server 6 (13)", Forwarding, "due", always([])),
    "unconfirmed changes end with their term": Mutation("Server 6 (13)", Forwarding, "begin", _forgets),
    "a skip is not forwarded": Mutation("Server 4 (5)", Server, "_skip", _skip_alone),
    "a backup goes on in its owner's line": Mutation("Words: line (3)", Span, "begin_line", _same_line),
    "one answer for a server's spans": Mutation("Worker 5 (2)", Pushing, "take", _one_answer),
    "backups are not made ready": Mutation("Terms 3 (13)", Opening, "backups", always(())),
    "any holding is as new as any": Mutation("Terms 4 (8)", choosing, "same_state", always(True)),
    "sources are not asked": Mutation("Terms 2 (15)", terms, "sources", always(())),
    "sources drop nothing": Mutation("Terms 3 (8)", Opening, "_drop", _servers_drop),
    "sources are removed at once": Mutation("Terms 2 (15)", term_policy, "remove_replaced", _at_once),
    "sources of a term that never opened are forgotten": Mutation(
        "Terms 3 (19)", term_policy, "named", lambda original: lambda term, opened: term.servers
    ),
}
