"""A chief that breaks a rule: its ledger, orders, tickets, checkpoints and end."""

from dataclasses import replace
from typing import Any

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.chief import Chief
from deepseek_runtime.protocol.effects import Clean, Effect, Send, WriteState
from deepseek_runtime.protocol.ending import Ending
from deepseek_runtime.protocol.leasing import Leasing
from deepseek_runtime.protocol.ledger import Ledger
from deepseek_runtime.protocol.messages import Ask, Beat, Grant, Lease
from deepseek_runtime.protocol.orders import Orders
from deepseek_runtime.protocol.saving import Saving
from deepseek_runtime.protocol.tickets import Tickets
from simulator.mutations.mutation import Mutation, always


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
    def on_beat(self: Leasing, worker: Member, beat: Beat, now: float) -> list[Effect]:
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


def _cleans_at_once(original: Any) -> Any:
    return lambda self: [Clean(self._term)]


MUTATIONS = {
    "an ended lease is not outstanding": Mutation("Chief 3 (4)", Ledger, "end", _free_at_once),
    "an applied range is skipped": Mutation("Chief 4 (5)", Ledger, "may_skip", always(True)),
    "a skip found is not completed": Mutation("Chief 5 (5)", Ledger, "rebuild", _skips_forgotten),
    "a range being skipped is given away": Mutation("Chief 4 (5)", Ledger, "begin_skip", always(None)),
    "two leases at once": Mutation("Worker 1 (16)", Leasing, "may_lease", always(True)),
    "an older branch claims its lease": Mutation(
        "Worker 6 (6)", Leasing, "may_claim", lambda original: lambda self, hello: hello.claim is not None
    ),
    "cleaned before etcd was read": Mutation("Checkpoints 4 (10)", Saving, "before_cleaning", _cleans_at_once),
    "a step is stored twice a term": Mutation("Checkpoints 2 (11)", Saving, "may_write", always(True)),
    "a part reported twice counts twice": Mutation("Checkpoints 2 (11)", Orders, "on_done", _done_again),
    "workers leave before `finished` stands": Mutation("End (12)", Ending, "_saved", _leaves_early),
    "`finished` is not fenced by the term": Mutation("End (12)", Ending, "on_result", _fence_ignored),
    "only workers heard of are flushed": Mutation(
        "End (12, 20)", Ending, "to_flush", lambda original: lambda self, registered: set(self.workers.seen)
    ),
    "the gate is open": Mutation("Chief 2 (14)", Ledger, "may_start_new", always(True)),
    "the stamp begins anew": Mutation("Worker 6 (14)", Ledger, "claim", _fresh_stamp),
    "a lease is granted once": Mutation("Worker 1 (15)", Leasing, "on_beat", _grant_once),
    "one span makes a range done": Mutation(
        "Chief 1 (16)", Ledger, "is_done", lambda original: lambda self, mask: mask != 0
    ),
    "a regular checkpoint at the last step": Mutation("Checkpoints 2 (18)", Chief, "multiple", _last_step_too),
    "a lost evaluator keeps its ticket": Mutation("End (18)", Tickets, "lost", always(None)),
    "a residual is asked for once": Mutation("End (20)", Ending, "_ask_flush", _asked_once),
    "answers to an earlier chief are heard": Mutation("Terms 5 (9)", Chief, "_is_ours", _any_chiefs_answer),
}
