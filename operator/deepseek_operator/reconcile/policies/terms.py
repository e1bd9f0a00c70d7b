"""Which servers make up the next term, and when it is raised (protocol.md, Terms 1, 2, 3 and 6).

A replacement is created first; the term that names it is raised when it has registered. The record is written to
status.term first, then to etcd if that holds a lower number or none: an emptied etcd gets the same record again.
With etcd unknown nothing is raised.
"""

from deepseek_operator.api.status import Seat, TermStatus
from deepseek_operator.reconcile.draft import Draft
from deepseek_runtime.contract.records import ServerSeat, TermRecord


def raise_term(draft: Draft) -> None:
    """Raises the term if it must be and can be; writes the present one to etcd if that lost it."""
    view = draft.seen.view
    if not view.fresh:
        return
    _roll_back_or_re_form(draft)
    current = draft.status.term
    if current.number and (view.term is None or view.term.number < current.number):
        draft.term = record(current)


def record(term: TermStatus) -> TermRecord:
    def seats(of: tuple[Seat, ...]) -> tuple[ServerSeat, ...]:
        return tuple(ServerSeat(index=s.index, incarnation=s.incarnation, address=s.address) for s in of)

    return TermRecord(
        number=term.number, servers=seats(term.servers), sources=seats(term.sources), restore=term.restore
    )


def _roll_back_or_re_form(draft: Draft) -> None:
    current = draft.status.term
    seats = _seats(draft)
    if seats is None:
        return
    alive = {(m.index, m.incarnation) for m in draft.seen.living("server")}
    opened = draft.status.opened >= current.number
    lost = [s for s in named(current, opened) if (s.index, s.incarnation) not in alive]
    asked = {id: r for id, r in draft.seen.view.requests.items() if (r.kind, r.term) == ("roll_back", current.number)}
    if not lost and not asked:
        if seats == current.servers:
            return
        if not opened or not _ready(draft, seats):
            return  # a re-shard waits until the present term is open, and whoever comes can go on at once
    stay = {(s.index, s.incarnation) for s in seats}
    sources = tuple(s for s in named(current, opened) if (s.index, s.incarnation) in alive - stay)
    # A roll-back that never opened is not forgotten because a server died on the way.
    restore = bool(asked) or (current.restore and not opened)
    raised = TermStatus(number=current.number + 1, servers=seats, sources=sources, restore=restore)
    draft.change(term=raised)
    draft.drop_requests += sorted(asked)
    draft.note("TermRaised", f"term {raised.number}: {_why(current, lost, asked and restore, seats)}")


def _ready(draft: Draft, seats: tuple[Seat, ...]) -> bool:
    """Whether each server has loaded all that it needs. A replacement is not waited for: nobody trains without it."""
    found = [draft.seen.view.registrations.get(("server", seat.index)) for seat in seats]
    return all(registration is None or registration.state != "starting" for registration in found)


def named(term: TermStatus, opened: bool) -> tuple[Seat, ...]:
    """Whom it takes to open a term, and who may still hold spans when it is left: its servers, and, if it never
    opened, its sources too. A source that was lost before it handed its spans over is not waited for (19)."""
    return term.servers + (() if opened else term.sources)


def _why(current: TermStatus, lost: list[Seat], rolled: object, seats: tuple[Seat, ...]) -> str:
    gone = [s for s in lost if s in current.servers]
    if len(gone) == len(current.servers):  # also when there was no term
        return f"all {len(seats)} server(s) have registered"
    if rolled:
        return "the runtime asked to go back to the newest checkpoint"
    if gone:
        return "replacement of " + ", ".join(f"server-{s.index}-{s.incarnation}" for s in gone)
    if lost:
        return ", ".join(f"server-{s.index}-{s.incarnation}" for s in lost) + " ended before its spans were handed over"
    return f"{len(current.servers)} -> {len(seats)} servers"


def _seats(draft: Draft) -> tuple[Seat, ...] | None:
    """Who would sit in the next term; None while a seat is empty or its server has not registered.

    A server that the present term names needs no registration: its address is known, and silence is not death.
    """
    named = {(s.index, s.incarnation): s for s in draft.status.term.servers}
    seats = []
    for index in range(draft.intent.servers):
        holder = draft.holder("server", index)
        if holder is None or draft.leaving(holder):
            return None
        known = named.get((index, holder.incarnation))
        registration = draft.seen.view.registered(holder.member)
        if known is not None:
            seats.append(known)
        elif registration is not None and registration.address:
            seats.append(Seat(index=index, incarnation=holder.incarnation, address=registration.address))
        else:
            return None
    return tuple(seats)


def remove_replaced(draft: Draft) -> None:
    """Ends servers that no term needs: unnamed ones beside a living holder, and sources once the new term is open."""
    term = draft.status.term
    opened = draft.status.opened >= term.number
    named = {(s.index, s.incarnation) for s in term.servers}
    sources = {(s.index, s.incarnation) for s in term.sources}
    for member in draft.seen.living("server"):
        key = (member.index, member.incarnation)
        holder = draft.holder("server", member.index)
        spare = holder is not member or member.index >= draft.intent.servers
        if key in named or not spare:
            continue
        if key in sources:
            if opened:
                draft.ask_to_leave(member)
        else:
            draft.remove(member)
