"""Who hosts which span, and who a term names."""

from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import ServerSeat, TermRecord


def member(seat: ServerSeat) -> Member:
    return Member("server", seat.index, seat.incarnation)


def servers(record: TermRecord) -> tuple[Member, ...]:
    """The members that a term names, the chief first."""
    return tuple(member(seat) for seat in record.servers)


def chief(record: TermRecord) -> Member:
    """Server 0 of the term."""
    return member(record.servers[0])


def host(record: TermRecord, span: int) -> Member:
    """The server that owns a span: in turn, so that each server has its share of every part of the model."""
    return member(record.servers[span % len(record.servers)])


def hosted(record: TermRecord, server: Member, spans: int) -> tuple[int, ...]:
    """The spans (of `spans` in all) that `server` owns in this term; none if it is not named."""
    named = servers(record)
    if server not in named:
        return ()
    return tuple(range(named.index(server), spans, len(named)))


def address(record: TermRecord, server: Member) -> str:
    return next(seat.address for seat in record.servers if member(seat) == server)
