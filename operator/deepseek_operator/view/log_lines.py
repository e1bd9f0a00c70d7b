"""Log lines of several members in one stream: by their own times, each with its member's name."""

import heapq
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

# What members and supervisor begin their lines with; etcd's JSON has its own.
_TIME = re.compile(r'(?:\{"level":"\w+","ts":")?(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,6}))?')


class LogLine(NamedTuple):
    time: str
    """Sorts as text; a line without a time has that of the line before it in the same log."""
    source: str
    text: str


def stamped(source: str, lines: Iterable[str], since: str = "") -> Iterator[LogLine]:
    """A traceback stays with the line that it belongs to."""
    time = since
    for line in lines:
        found = _TIME.match(line)
        if found is not None:
            time = f"{found[1]}T{found[2]}.{(found[3] or '0'):<06}"
        yield LogLine(time, source, line)


def merged(logs: Mapping[str, Sequence[str]]) -> list[LogLine]:
    """All lines in the order of their times; within one log in its own order."""
    streams = [stamped(source, lines) for source, lines in sorted(logs.items())]
    return list(heapq.merge(*streams, key=lambda line: line.time))


def shown(line: LogLine, width: int) -> str:
    """worker-0-0  2026-...: the source padded to `width`; 0: without it."""
    return f"{line.source:<{width}} | {line.text}" if width else line.text


def tail(lines: Sequence[str], most: int | None) -> Sequence[str]:
    return lines if most is None else lines[max(0, len(lines) - most) :]
