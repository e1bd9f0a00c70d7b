"""The live view of a terminal: one screen, redrawn as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import wrap

from rich.text import Text

from deepseek_operator.view import facts, members
from deepseek_operator.view.amounts import ASCII_BARS, BARS, clock, count, digits, one_line, seconds_of, sparkline
from deepseek_operator.view.sentence import message
from deepseek_operator.view.snapshot import ASCII_SIGNS, SIGNS, Snapshot

COLOURS = {
    "Running": "green", "Succeeded": "green",
    "Restarting": "yellow", "Degraded": "yellow", "Draining": "yellow", "Suspended": "yellow",
    "Failed": "red", "Blocked": "red", "Interrupted": "red", "Orphaned": "red",
}  # fmt: skip
LABEL = 7
MEMBERS = 16
"""Lines of members; more are grouped."""
LAYOUTS = (
    (True, MEMBERS, 3, 5), (True, MEMBERS, 1, 5), (True, MEMBERS, 1, 3), (False, MEMBERS, 1, 3),
    (True, 2, 1, 3), (False, 2, 1, 3), (False, 2, 0, 2), (False, 2, 0, 0),
)  # fmt: skip
"""Whether with blank lines, then how many members, recoveries, events: the first that fits is taken.

Each member's own line is worth more than old news.
"""
MESSAGE_LINES = 3


@dataclass(frozen=True, slots=True)
class Page:
    """The room there is, and what the terminal can show."""

    width: int
    height: int
    unicode: bool = True

    @property
    def sign(self) -> dict[str, str]:
        return SIGNS if self.unicode else ASCII_SIGNS


def screen(shot: Snapshot, page: Page, hint: str = "") -> list[Text]:
    """At most `page.height` lines of at most `page.width` characters. The hint stands last."""
    top = [_title(shot, page), *_facts(shot, page)]
    if shot.notice or not shot.over:
        said, style = (shot.notice, "bold yellow") if shot.notice else (message(shot), "yellow")
        top += [Text(line, style) for line in wrap(one_line(said), page.width)[:MESSAGE_LINES]]
    bottom = [Text(), _cut(Text(hint, "dim"), page)] if hint else []
    room = max(0, page.height - len(top) - len(bottom))
    middle: list[Text] = []
    for airy, most, recoveries, events in LAYOUTS:
        middle = [*_members(shot, page, most), *_recoveries(shot, page, recoveries), *_events(shot, page, events)]
        if not airy:
            middle = [line for line in middle if line.plain]
        if len(middle) <= room:
            break
    return [*top, *middle[:room], *bottom][: page.height]


def _title(shot: Snapshot, page: Page) -> Text:
    phase = shot.phase
    style = COLOURS.get(phase, "cyan")
    left = Text.assemble((shot.name, "bold"), "  ", (f"{page.sign[phase] if phase in SIGNS else '?'} {phase}", style))
    if shot.status.restarts_total:
        left.append(f"  {count(shot.status.restarts_total, 'restart')}", "yellow")
    right = facts.elapsed(shot)
    left.append(" " * max(2, page.width - len(left) - len(right)) + right)
    return _cut(left, page)


def _facts(shot: Snapshot, page: Page) -> Iterator[Text]:
    if shot.goal is not None:
        yield _row("step", _step(shot, page), page)
    if shot.progress is not None and shot.progress.loss is not None:
        said = Text(f"{digits(shot.progress.loss):<9} ")
        room = min(60, page.width - LABEL - len(said))
        said.append(sparkline(shot.losses, room, BARS if page.unicode else ASCII_BARS), "cyan")
        yield _row("loss", said, page)
    for rows in (facts.evaluation, facts.speed, facts.guard, facts.wire, facts.checkpoint, facts.losses):
        for label, text in rows(shot):
            yield _row(label, Text(text), page)


def _step(shot: Snapshot, page: Page) -> Text:
    said = Text(f"{facts.step(shot)}  {facts.percent(shot):>6}  ")
    end = f"  eta {clock(shot.eta)}" if shot.eta is not None and not shot.over else ""
    room = min(40, page.width - LABEL - len(said) - len(end))
    if room >= 8 and shot.fraction is not None:
        done = int(shot.fraction * room)
        full, empty = ("━", "─") if page.unicode else ("=", "-")
        said.append(full * done, "green")
        said.append(empty * (room - done), "dim")
    said.append(end)
    return said


def _row(label: str, text: Text, page: Page) -> Text:
    return _cut(Text.assemble((f"{label:<{LABEL}}", "dim"), text), page)


def _members(shot: Snapshot, page: Page, most: int) -> list[Text]:
    """A blank line, who is at work, and the table."""
    status = shot.status
    counts = facts.roles(shot) + (f"  term {status.term.number}" if status.term.number else "")
    if not status.members:
        return [Text(), _cut(Text(counts), page)] if not shot.over else []
    found = members.rows(status.members, shot.rates, most)
    lines = members.table(found)
    return [
        Text(),
        _cut(Text.assemble((lines[0], "dim"), ("   " + counts, "dim")), page),
        *(_cut(Text(line), page) for line in lines[1:]),
    ]


def _recoveries(shot: Snapshot, page: Page, most: int) -> list[Text]:
    found = shot.status.recoveries
    if not found or not most:
        return []
    title = f"recoveries ({len(found)})" if len(found) > most else "recoveries"
    shown = [Text(f"  {facts.recovery(one)}", "" if one.seconds is not None else "yellow") for one in found[-most:]]
    return [Text(), Text(title, "dim"), *(_cut(line, page) for line in shown)]


def _events(shot: Snapshot, page: Page, most: int) -> list[Text]:
    shown = shot.status.events[-most:] if most else ()
    if not shown:
        return []
    lines = [Text(), Text("events", "dim")]
    for one in shown:
        at = seconds_of(one.time)
        since = clock(at - begin) if at is not None and (begin := seconds_of(shot.status.started)) is not None else ""
        style = "yellow" if one.type == "Warning" else ""
        lines.append(_cut(Text.assemble((f"  {since:>7}  ", "dim"), (facts.event(one), style)), page))
    return lines


def _cut(text: Text, page: Page) -> Text:
    """One line: what does not fit is cut with an ellipsis."""
    line = text.split("\n", allow_blank=True)[0] if "\n" in text.plain else text.copy()
    if line.cell_len > page.width:
        if page.unicode:
            line.truncate(page.width, overflow="ellipsis")
        else:
            line.truncate(page.width - 3, overflow="crop")
            line.append("...")
    line.no_wrap = True
    return line
