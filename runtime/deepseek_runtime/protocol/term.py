"""Who hosts which span, and who a term names."""

from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import ServerSeat, TermRecord


def member(seat: ServerSeat) -> Member:
    return Member("server", seat.index, seat.incarnation)


def servers(record: TermRecord) -> tuple[Member, ...]:
    """The members that a term names, the chief first."""
    return tuple(member(seat) for seat in record.servers)


def sources(record: TermRecord) -> tuple[Member, ...]:
    """Members that leave with this term and may hold spans."""
    return tuple(member(seat) for seat in record.sources)


def named(record: TermRecord) -> tuple[Member, ...]:
    """Whoever must confirm before the term opens (Terms 3)."""
    return servers(record) + sources(record)


def neighbour(record: TermRecord, server: Member) -> Member | None:
    """Who holds this server's backups: the next by index, cyclic; None: it is the only one."""
    members = servers(record)
    if server not in members or len(members) < 2:
        return None
    return members[(members.index(server) + 1) % len(members)]


def backed_up(record: TermRecord, server: Member, spans: int) -> tuple[int, ...]:
    """The spans (of `spans` in all) whose backups `server` holds: those of the server before it."""
    members = servers(record)
    if server not in members or len(members) < 2:
        return ()
    return hosted(record, members[members.index(server) - 1], spans)


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
    return next(seat.address for seat in record.servers + record.sources if member(seat) == server)
