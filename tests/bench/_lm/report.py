"""The table of `bench-accuracy-lm` from what was trained: pairs by seed, intervals, bytes, GPU time."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t

from bench._lm.groups import Group, Results
from bench._table import Row, publish

Line = dict[str, Any]


def report(groups: Sequence[Group], results: Results, where: dict[str, Any]) -> None:
    """Rows of what is there; groups that are not stand in the notes."""
    lines = {group.name: results.lines[group.key()] for group in groups if group.key() in results.lines}
    missing = [group.name for group in groups if group.name not in lines]
    rows: list[Row] = []
    for name, line in lines.items():
        if name.startswith(("local", "outer", "powersgd", "gradient")):
            rows += _compared(name, line, lines)
    if "synchronous" in lines:
        losses = lines["synchronous"]["outcome"]["losses"]
        rows.insert(0, _shown("synchronous AdamW, W = 4", "loss (seeds: spread)", _mean(losses), "nats a byte", losses))
    if "local" in lines and "powersgd" in lines:
        rows.append(_below(lines["local"], lines["powersgd"]))
    devices = sorted({line["device"] for line in lines.values()})
    seconds = sum(line["seconds"] for line in results.lines.values())
    parameters = next((line["parameters"] for line in lines.values()), 0)
    notes = [
        f"{parameters:,} parameters; trained on: {', '.join(devices) or 'nothing yet'}; GPU time in all {seconds:.0f} s"
    ]
    if missing:
        notes.append(f"not trained yet: {', '.join(missing)}")
    publish("accuracy-lm", rows, where, notes)


def _compared(name: str, line: Line, lines: dict[str, Line]) -> list[Row]:
    """Each kind of lane of a group against synchronous training of the same seeds, tokens and workers."""
    rival = lines.get(_rival(line))
    if rival is None:
        return []
    theirs = _by_seed(rival)
    rows: list[Row] = []
    for what, places in _kinds(line).items():
        lanes, outcome = line["group"]["lanes"], line["outcome"]
        ours = [outcome["losses"][place] for place in places]
        against = [theirs[lanes[place]["seed"]] for place in places]
        above = [100 * (one / other - 1) for one, other in zip(ours, against, strict=True)]
        case = f"{name}{what}, W = {line['group']['workers']}"
        goal, holds = _goal(name, what, _mean(above))
        rows.append(_shown(case, "loss", _mean(ours), "nats a byte", ours, {"synchronous": _mean(against)}))
        rows.append(Row(case, f"above synchronous ({_interval(above)})", _mean(above), "%", goal, holds))
        if line["group"]["kind"] in ("local", "powersgd"):
            dense = line["dense_bytes"]
            fewer = dense / outcome["steady_bytes"][places[0]]
            whole = dense / outcome["bytes"][places[0]]
            asked = name == "local"
            goal, holds = (">= 250", fewer >= 250) if asked else ("shown", True)
            rows.append(
                Row(case, f"times fewer bytes ({whole:.0f} with first pulls and last pushes)", fewer, "", goal, holds)
            )
    return rows


def _rival(line: Line) -> str:
    group = line["group"]
    eight = " 8" if group["workers"] == 8 else ""
    short = " 20 M" if group["name"].endswith("20 M") else ""
    return f"synchronous{eight}{short}"


def _kinds(line: Line) -> dict[str, list[int]]:
    """Lanes that differ in nothing but the seed, by what sets them apart in their group."""
    found: dict[str, list[int]] = {}
    for place, lane in enumerate(line["group"]["lanes"]):
        what = ""
        if line["group"]["kind"] == "gradient":
            what = f", {lane['ahead']:g} pushes ahead" if lane["ahead"] else ", no look-ahead"
        elif lane["outer"]["mu"]:
            outer = lane["outer"]
            kind = "Nesterov on each push" if outer["period"] == 1 else "delayed Nesterov"
            what = f", {kind} {outer['mu']:g}"
        elif line["group"]["name"].startswith("outer"):
            what = ", no outer momentum"
        found.setdefault(what, []).append(place)
    return found


def _goal(name: str, what: str, above: float) -> tuple[str, bool]:
    if name == "local":
        return "<= 2 (goal 1)", above <= 2
    if name.startswith("gradient") and "ahead" in what and "no " not in what:
        return "<= 5", above <= 5
    return "shown", True


def _below(ours: Line, rival: Line) -> Row:
    theirs = _by_seed(rival)
    pairs = zip(ours["group"]["lanes"], ours["outcome"]["losses"], strict=True)
    differences = [loss - theirs[lane["seed"]] for lane, loss in pairs if lane["seed"] in theirs]
    mean = _mean(differences)
    return Row("local, W = 4", f"minus PowerSGD ({_interval(differences)})", mean, "nats a byte", "< 0", mean < 0)


def _by_seed(line: Line) -> dict[int, float]:
    lanes = line["group"]["lanes"]
    return {lane["seed"]: loss for lane, loss in zip(lanes, line["outcome"]["losses"], strict=True)}


def _shown(
    case: str, metric: str, ours: float, unit: str, values: Sequence[float], rival: dict[str, float] | None = None
) -> Row:
    return Row(case, f"{metric}, {min(values):.4f} to {max(values):.4f}", ours, unit, "shown", True, rival or {})


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _interval(values: Sequence[float]) -> str:
    """95 %, Student's t."""
    count = len(values)
    if count < 2:
        return "1 seed"
    half = float(t.ppf(0.975, count - 1)) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return f"{count} seeds: {_mean(values) - half:+.3g} to {_mean(values) + half:+.3g}"
