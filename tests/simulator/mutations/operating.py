"""An operator or an etcd that breaks a rule, and what members conclude from it."""

from dataclasses import replace
from typing import Any

from deepseek_operator.reconcile.draft import Draft
from deepseek_operator.reconcile.policies import lifecycle
from deepseek_operator.reconcile.policies import terms as term_policy
from simulator.etcd import Etcd
from simulator.mutations.mutation import Mutation, always
from simulator.servers import ServerProcess


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


def _no_grace(original: Any) -> Any:
    def workers(self: ServerProcess) -> Any:
        self.job.grace = False
        return original(self)

    return workers


MUTATIONS = {
    "`finished` is fenced by nobody": Mutation("End (12)", Etcd, "may_write", always(True)),
    "requests of older terms are heard": Mutation("Terms 6 (15)", term_policy, "raise_term", _requests_of_any_term),
    "`finished` of an older term is nothing": Mutation("End (20)", lifecycle, "succeed", _finished_of_the_newest),
    "registrations count at once after an outage": Mutation("End (20)", ServerProcess, "_workers", _no_grace),
}
