"""One line a member; when there are too many, those in the same state share a line."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from deepseek_operator.api.status import MemberStatus
from deepseek_operator.view.amounts import digits, indices
from deepseek_runtime.contract.names import Member


class MemberRow(NamedTuple):
    name: str
    """worker-0-1 (role, index, incarnation, as its log is called), or `worker 0-7` for a group."""
    state: str
    rate: str
    """Samples a second, lately."""
    where: str
    """Its process here, its node in a cluster."""


HEADER = MemberRow("MEMBER", "STATE", "SAMPLES/S", "PID")


def rows(members: Sequence[MemberStatus], rates: Mapping[str, float], most: int) -> list[MemberRow]:
    """At most one row a member; groups by role and state when they would be more than `most`."""
    ordered = sorted(members, key=lambda m: (m.role, m.index, m.incarnation))
    if len(ordered) <= most:
        return [_single(member, rates) for member in ordered]
    groups: dict[tuple[str, str], list[MemberStatus]] = {}
    for member in ordered:
        groups.setdefault((member.role, _state(member)), []).append(member)
    return [_group(role, state, group, rates) for (role, state), group in groups.items()]


def _state(member: MemberStatus) -> str:
    return "leaving" if member.terminating and member.phase != "gone" else member.phase


def _name(member: MemberStatus) -> str:
    return str(Member(member.role, member.index, member.incarnation))


def _single(member: MemberStatus, rates: Mapping[str, float]) -> MemberRow:
    rate = rates.get(_name(member))
    where = str(member.pid) if member.pid is not None else member.node or "-"
    return MemberRow(_name(member), _state(member), digits(rate) if rate is not None else "-", where)


def _group(role: str, state: str, group: Sequence[MemberStatus], rates: Mapping[str, float]) -> MemberRow:
    if len(group) == 1:
        return _single(group[0], rates)
    known = [rates[name] for name in map(_name, group) if name in rates]
    rate = digits(sum(known)) if known else "-"
    return MemberRow(f"{role} {indices([member.index for member in group])}", state, rate, "-")


def table(rows: Sequence[MemberRow]) -> list[str]:
    """With its header, columns as wide as they must be."""
    nodes = any(row.where != "-" and not row.where.isdigit() for row in rows)
    lines = [HEADER._replace(where="NODE") if nodes else HEADER, *rows]
    name, state, rate = (max(len(line[column]) for line in lines) for column in range(3))
    return [
        f"{line.name:<{name}}  {line.state:<{state}}  {line.rate:>{rate}}  {line.where:>8}".rstrip() for line in lines
    ]
