"""Which holding of each span a term goes on from, and who must send it to whom (protocol.md, Terms 4). Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import TermRecord
from deepseek_runtime.protocol import term as terms
from deepseek_runtime.protocol.server_orders import Done, SpanState


@dataclass(frozen=True, slots=True)
class Holding:
    """A span as one server has it."""

    server: Member
    state: SpanState


@dataclass(slots=True)
class Holdings:
    """What the named servers said that they hold."""

    by_span: dict[int, list[Holding]] = field(default_factory=dict)

    @classmethod
    def of(cls, answers: Mapping[Member, Done]) -> "Holdings":
        found = cls()
        for server, answer in sorted(answers.items()):
            for span, state in answer.spans.items():
                found.by_span.setdefault(span, []).append(Holding(server, state))
        return found

    def __bool__(self) -> bool:
        return bool(self.by_span)

    def newest(self) -> dict[int, Holding]:
        """Of each span: by branch, then by the term that placed it, the owner's before the neighbour's."""
        return {span: max(held, key=_age) for span, held in self.by_span.items()}

    def of_server(self, span: int, server: Member) -> SpanState | None:
        return next((one.state for one in self.by_span.get(span, ()) if one.server == server), None)


def _age(holding: Holding) -> tuple[int, int, bool]:
    return (holding.state.branch, holding.state.placed, not holding.state.backup)


def origins(record: TermRecord, server: Member, spans: Iterable[int], held: Holdings) -> dict[int, Member]:
    """By span: from whom `server` must have it, for those of which it does not hold the newest state itself.

    A neighbour keeps a backup that lacks what is not confirmed yet, if its owner goes on too: it will catch up.
    """
    newest = held.newest()
    needed: dict[int, Member] = {}
    count = 1 + max(held.by_span)
    for span in spans:
        best, own = newest[span], held.of_server(span, server)
        if own is not None and same_state(own, best.state):
            continue
        owner = terms.host(record, span)
        catches_up = server in terms.servers(record) and span in terms.backed_up(record, server, count)
        if own is not None and catches_up and best.server == owner and follows(own, best.state):
            continue
        needed[span] = best.server
    return needed


def same_state(own: SpanState, best: SpanState) -> bool:
    """Of one branch and placed by one term, the number of changes tells two holdings apart."""
    return (own.branch, own.placed, own.changes) == (best.branch, best.placed, best.changes)


def follows(own: SpanState, best: SpanState) -> bool:
    """`own` is the backup of the owner that has `best`: what it lacks, that owner sends again."""
    return own.backup and not best.backup and (own.branch, own.placed) == (best.branch, best.placed)
