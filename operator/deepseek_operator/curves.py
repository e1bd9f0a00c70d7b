"""metrics.jsonl as curves: what survived, what was given up in roll-backs, and what happened along the way.

docs/formats/journals.md has the lines. A `TermOpened` with fewer steps than before is a roll-back: the points beyond it
were given up, though their time and bytes were spent.
"""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from deepseek_operator.api.status import Recovery

MarkKind = Literal["worker", "server", "etcd", "roll-back", "checkpoint"]
_STEP = re.compile(r"step (\d+)")
_LOST = re.compile(r"worker-(\d+)-\d+: (.*)")
_SAME = 30.0
"""Seconds: a recovery and a missing heartbeat of one worker within these are one loss."""


@dataclass(frozen=True, slots=True)
class Point:
    """One push. `wire`: bytes of the whole job until then; `time`: seconds since the Unix epoch."""

    step: int
    wire: int
    time: float
    loss: float | None
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`step`: the one it was asked for at."""

    step: int
    wire: int
    time: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened. A roll-back goes from `step` back to `back_to`."""

    kind: MarkKind
    step: int
    wire: int
    time: float
    text: str
    back_to: int | None = None


@dataclass(slots=True)
class Curves:
    name: str
    points: list[Point] = field(default_factory=list)
    """Of the state that survived, in order of steps."""
    given_up: list[list[Point]] = field(default_factory=list)
    """One list a roll-back."""
    evaluations: list[Evaluation] = field(default_factory=list)
    given_up_evaluations: list[Evaluation] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)

    def trail(self, gone: Sequence[Point]) -> list[Point]:
        """What was given up, with the point before it: so that its line begins where the other one ends."""
        before = [point for point in self.points if point.time < gone[0].time]
        return [*before[-1:], *gone]

    def of(self, *kinds: MarkKind) -> list[Mark]:
        return [mark for mark in self.marks if mark.kind in kinds]


def read_curves(name: str, file: Path, recoveries: Sequence[Recovery] = ()) -> Curves:
    """recoveries: the status's, which knows of lost servers too. No such file: no points. Raises OSError."""
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        text = b""
    return curves_from(name, text, recoveries)


def curves_from(name: str, text: bytes, recoveries: Sequence[Recovery] = ()) -> Curves:
    """The same from the lines themselves."""
    reader = _Reader(Curves(name), list(recoveries))
    for row in _rows(text.split(b"\n")):
        reader.take(row)
    return reader.end()


def _rows(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue  # torn by a crash
        if isinstance(row, dict):
            yield row


class _Reader:
    def __init__(self, curves: Curves, recoveries: list[Recovery]) -> None:
        self._curves = curves
        self._recoveries = recoveries
        self._term: int | None = None
        self._before = 0
        """Bytes of the terms before this one."""
        self._wire = 0
        self._time = 0.0
        self._step = 0
        self._pasts: list[tuple[float, int, int]] = []
        """(time, step, wire) of every row, for marks that come from elsewhere."""

    def take(self, row: dict[str, Any]) -> None:
        self._time = _number(row, "time", self._time)
        term = int(_number(row, "term", self._term or 0))
        if term != self._term:
            self._before, self._term = self._wire, term
        if "event" in row:
            self._event(row)
        elif "g" in row:
            self._push(row)
        self._pasts.append((self._time, self._step, self._wire))

    def _push(self, row: dict[str, Any]) -> None:
        self._wire = max(self._wire, self._before + int(_number(row, "wire", 0)))
        self._step = int(_number(row, "step", self._step))
        loss = row.get("loss")
        usable = isinstance(loss, int | float) and isfinite(loss)
        self._curves.points.append(
            Point(self._step, self._wire, self._time, float(loss) if usable and loss is not None else None, row)
        )

    def _event(self, row: dict[str, Any]) -> None:
        event, text = str(row["event"]), str(row.get("text", ""))
        if event == "TermOpened":
            self._opened(int(_number(row, "step", self._step)))
        elif event == "CheckpointSaved":
            saved = _STEP.search(text)
            self._saved(int(saved[1]) if saved else self._step, f"checkpoint of {text}")
        elif event == "WorkerLost":
            self._lost(text)
        elif event == "Evaluated":
            known = {"time", "event", "text", "term", "step"}
            numbers = {k: float(v) for k, v in row.items() if k not in known and isinstance(v, int | float)}
            values = {k: v for k, v in numbers.items() if isfinite(v)}
            step = int(_number(row, "step", self._step))
            self._curves.evaluations.append(Evaluation(step, self._wire, self._time, values))

    def _opened(self, step: int) -> None:
        curves = self._curves
        gone = [point for point in curves.points if point.step > step]
        if gone:
            curves.points = [point for point in curves.points if point.step <= step]
            curves.given_up.append(gone)
            self._mark("roll-back", gone[-1].step, f"back to step {step}", step)
        curves.given_up_evaluations += [one for one in curves.evaluations if one.step > step]
        curves.evaluations = [one for one in curves.evaluations if one.step <= step]
        self._step = step

    def _lost(self, text: str) -> None:
        """Of a worker that was replaced or left by wish nothing more is to be said here."""
        lost = _LOST.fullmatch(text)
        if lost is None or lost[2] in ("replaced", "left"):
            return
        told = any(
            r.role == "worker" and r.index == int(lost[1]) and abs(r.lost_at - self._time) < _SAME
            for r in self._recoveries
        )
        if not told:
            self._mark("worker", self._step, f"worker {lost[1]}: {lost[2]}")

    def _saved(self, step: int, text: str) -> None:
        """Where its step was reached: by the time that it is stored whole, the job is further."""
        points = self._curves.points
        place = bisect_left(points, step, key=lambda point: point.step)
        wire = points[place].wire if place < len(points) else self._wire
        self._curves.marks.append(Mark("checkpoint", step, wire, self._time, text))

    def _mark(self, kind: MarkKind, step: int, text: str, back_to: int | None = None) -> None:
        self._curves.marks.append(Mark(kind, step, self._wire, self._time, text, back_to))

    def _drop_repeated(self) -> None:
        """A range that a later term trained again was not in what survived, though its push stands at the very step."""
        curves = self._curves
        backs = [mark.time for mark in curves.of("roll-back")]
        last = {point.row["g"]: point for point in curves.points}
        for point in [point for point in curves.points if last[point.row["g"]] is not point]:
            place = bisect_right(backs, point.time)
            if place < len(backs) and last[point.row["g"]].time > backs[place]:
                curves.points.remove(point)
                curves.given_up[place].append(point)
        for gone in curves.given_up:
            gone.sort(key=lambda point: point.time)

    def end(self) -> Curves:
        self._drop_repeated()
        times = [time for time, _, _ in self._pasts]
        for one in self._recoveries:
            kind: MarkKind = "etcd" if one.role == "etcd" else "server" if one.role == "server" else "worker"
            place = bisect_right(times, one.lost_at) - 1
            wire = self._pasts[place][2] if place >= 0 else 0
            who = one.role if kind == "etcd" else f"{one.role} {one.index}"
            self._curves.marks.append(Mark(kind, one.at_step, wire, one.lost_at, f"{who} lost"))
        self._curves.marks.sort(key=lambda mark: mark.time)
        return self._curves


def _number(row: Mapping[str, Any], key: str, default: float) -> float:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) else default


def smoothed(values: Sequence[float], width: int) -> list[float]:
    """The mean of the `width` values around each place, fewer at both ends."""
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    before, after = width // 2, width - width // 2
    result = []
    for place in range(len(values)):
        first, last = max(0, place - before), min(len(values), place + after)
        result.append((sums[last] - sums[first]) / (last - first))
    return result
