"""What a server tells of its spans: to its journal, to the chief, to the neighbour. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.messages import Push
from deepseek_runtime.protocol.neighbours import Forward, PushChange
from deepseek_runtime.protocol.server_orders import AppliedReport, SpanState
from deepseek_runtime.protocol.span import Span


def log_line(term: int, worker: Member, sequence: int, g: int, spans: Iterable[Span]) -> dict[str, Any]:
    """A push of a range that these spans have applied, for pushes.jsonl."""
    return {
        "g": g,
        "worker": str(worker),
        "sequence": sequence,
        "term": term,
        "spans": [[span.index, span.branch, span.ordinal] for span in spans],
    }


def continued_line(term: int, spans: Iterable[Span]) -> dict[str, Any]:
    """Spans that this server owns from `term` on, as far as they had come with another."""
    return {"continued": term, "spans": [[span.index, span.branch, span.ordinal] for span in spans]}


def forward_push(term: int, sender: Member, push: Push, spans: Iterable[Span]) -> Forward:
    """Server 6: a push that these spans have just applied, its payload as it came."""
    numbers = {span.index: span.changes for span in spans}
    change = PushChange(
        sender,
        push.sequence,
        push.w,
        {index: push.parts[index] for index in numbers},
        {index: push.residuals.get(index, 0.0) for index in numbers},
        {index: push.magnitudes.get(index, 0.0) for index in numbers},
        push.integers if 0 in numbers else None,
    )
    return Forward(term, push.branch, numbers, push.lease.g if push.lease is not None else None, change)


def report(
    term: int, number: int, sender: Member, push: Push, applied: Iterable[int], spans: Mapping[int, Span], wire: int
) -> AppliedReport:
    """Server 5: what this push has changed; of `spans`, all that this server owns."""
    applied = tuple(applied)
    ranges: tuple[tuple[int, tuple[int, ...]], ...] = ()
    pushes: tuple[dict[str, Any], ...] = ()
    if push.lease is not None:
        ranges = ((push.lease.g, applied),)
        if push.stats and 0 in applied:
            pushes = ({"g": push.lease.g, "worker": str(sender), "samples": push.samples, **push.stats},)
    pushed = sum(span.pushed for span in spans.values())
    return AppliedReport(term, number, ranges, pushes, wire, _residuals(spans.values()), pushed)


def _residuals(spans: Iterable[Span]) -> dict[str, float]:
    """Sum of |e| over the spans, by worker; "" is what is lost for good."""
    sums: dict[str, float] = {"": 0.0}
    for span in spans:
        sums[""] += span.lost
        for worker, value in span.residuals.items():
            sums[worker] = sums.get(worker, 0.0) + value
    return sums


def states(spans: Mapping[int, Span], backup: bool = False) -> dict[int, SpanState]:
    return {
        index: SpanState(span.branch, span.placed, span.applied.copy(), frozenset(span.skipped), span.changes, backup)
        for index, span in spans.items()
    }
