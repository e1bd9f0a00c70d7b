"""Curves as a picture: loss above, evaluation below; over steps on the left, over bytes on the right. matplotlib only.

Of one job its marks are labelled; of several they are lines in the job's colour, or nobody could read the labels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, NullFormatter

from deepseek_operator.curves import Curves, Evaluation, Mark, Point, smoothed
from deepseek_operator.view.amounts import metric, size

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")
"""Okabe and Ito's, which colour-blind people can tell apart too."""
STYLES: Final[dict[str, tuple[float, tuple[float, ...]]]] = {
    "worker": (0, (1, 2)),
    "server": (0, (6, 3)),
    "etcd": (0, (6, 2, 1, 2)),
}
"""Strokes and gaps."""
LOST: Final = "#B22222"
SAVED: Final = "#555555"
FAINT: Final = 0.35
LOG_FROM: Final = 8.0
"""How many times the highest loss must be above the lowest for a logarithmic axis."""
SAME: Final = 60.0
"""Seconds between the loss of a server and the roll-back that it brought."""

X = Callable[[Point | Evaluation | Mark], float]


@dataclass(frozen=True, slots=True)
class Across:
    """One of the two horizontal axes."""

    label: str
    x: X
    steps: bool


ACROSS: Final = (
    Across("steps (batches done)", lambda one: one.step, True),
    Across("bytes on the wire, both ways", lambda one: one.wire, False),
)


def picture(curves: Sequence[Curves], file: Path) -> None:
    """Writes it; the suffix is the format. Each of `curves` has points. Raises OSError."""
    figure_of(curves).savefig(file, dpi=130)


def figure_of(curves: Sequence[Curves]) -> Figure:
    name = shown_metric(curves)
    rows = 1 if name is None else 2
    figure = Figure(figsize=(13, 4.2 + 3.2 * (rows - 1)), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False, sharex="col", sharey="row")
    for place, across in enumerate(ACROSS):
        for one, colour in zip(curves, _colours(len(curves)), strict=True):
            _losses(axes[0][place], one, across, colour)
            if name is not None:
                _evaluations(axes[1][place], one, across, colour, name)
        for number, row in enumerate(axes):
            for one, colour in zip(curves, _colours(len(curves)), strict=True):
                _marks(row[place], one, across, colour, alone=len(curves) == 1, top=number == 0)
    _scales(axes, curves, name)
    figure.suptitle(title(curves, name), fontsize=12)
    legend = _legend(curves)
    figure.legend(handles=legend, loc="outside lower center", ncols=min(8, len(legend)), fontsize=9, frameon=False)
    return figure


def shown_metric(curves: Sequence[Curves]) -> str | None:
    """Of the evaluations: accuracy if there is one, else the first."""
    names = [name for one in curves for seen in one.evaluations for name in seen.values]
    return "accuracy" if "accuracy" in names else next(iter(names), None)


def title(curves: Sequence[Curves], name: str | None) -> str:
    """What came of it, in one line."""
    if len(curves) > 1:
        return ", ".join(one.name for one in curves)
    one = curves[0]
    last = next((seen for seen in reversed(one.evaluations) if name in seen.values), None)
    said = f", {name} {value_text(name, last.values[name])}" if last is not None and name is not None else ""
    step = max(one.points[-1].step, last.step if last is not None else 0)
    return f"{one.name}: step {step:,}{said}, {size(one.points[-1].wire)} on the wire"


def value_text(name: str, value: float) -> str:
    return f"{value:.1%}" if name == "accuracy" else metric(value)


def _colours(number: int) -> list[str]:
    return [COLOURS[place % len(COLOURS)] for place in range(number)]


def _losses(axes: Axes, curves: Curves, across: Across, colour: str) -> None:
    points = [point for point in curves.points if point.loss is not None]
    losses = [point.loss or 0.0 for point in points]
    width = _width(losses)
    xs = [across.x(point) for point in points]
    axes.plot(*_broken(xs, losses, points, curves), color=colour, alpha=0.2, linewidth=0.7, zorder=2)
    axes.plot(*_broken(xs, smoothed(losses, width), points, curves), color=colour, linewidth=1.8, zorder=4)
    for gone in curves.given_up:
        rest = [point for point in curves.trail(gone) if point.loss is not None]
        values = smoothed([point.loss or 0.0 for point in rest], max(1, min(width, len(rest) // 3)))
        axes.plot([across.x(p) for p in rest], values, color=colour, alpha=FAINT, linewidth=1.3, zorder=3)


def _width(losses: Sequence[float]) -> int:
    """Of the running mean, in pushes."""
    return max(1, len(losses) // 40)


def _broken(
    xs: Sequence[float], ys: Sequence[float], points: Sequence[Point], curves: Curves
) -> tuple[list[float], list[float]]:
    """The line with a gap wherever what came next was given up."""
    times = [mark.time for mark in curves.of("roll-back")]
    broken_xs, broken_ys = [], []
    for place, point in enumerate(points):
        if place and any(points[place - 1].time < time <= point.time for time in times):
            broken_xs.append(xs[place])
            broken_ys.append(float("nan"))
        broken_xs.append(xs[place])
        broken_ys.append(ys[place])
    return broken_xs, broken_ys


def _evaluations(axes: Axes, curves: Curves, across: Across, colour: str, name: str) -> None:
    seen = [one for one in curves.evaluations if name in one.values]
    gone = [one for one in curves.given_up_evaluations if name in one.values]
    axes.plot(
        [across.x(one) for one in seen], [one.values[name] for one in seen],
        color=colour, marker="o", markersize=5, linewidth=1.5, zorder=4,
    )  # fmt: skip
    axes.plot(
        [across.x(one) for one in gone], [one.values[name] for one in gone],
        color=colour, alpha=FAINT, marker="o", markerfacecolor="white", linestyle="none", zorder=3,
    )  # fmt: skip
    if seen:
        last = seen[-1]
        axes.annotate(
            value_text(name, last.values[name]), (across.x(last), last.values[name]),
            xytext=(0, -14), textcoords="offset points", ha="right", color=colour, fontsize=10, fontweight="bold",
        )  # fmt: skip


def _marks(axes: Axes, curves: Curves, across: Across, colour: str, *, alone: bool, top: bool) -> None:
    for gone in curves.given_up:
        trail = curves.trail(gone)
        axes.axvspan(across.x(trail[0]), across.x(trail[-1]), color=LOST if alone else colour, alpha=0.08, linewidth=0)
    labels = losses_of(curves)
    for mark, text in labels:
        line = LOST if alone else colour
        axes.axvline(across.x(mark), color=line, linestyle=STYLES[mark.kind], linewidth=1.1, alpha=0.8, zorder=1)
        if alone and top:
            axes.annotate(
                text, (across.x(mark), 1.0), xycoords=("data", "axes fraction"), xytext=(-3, -4),
                textcoords="offset points", rotation=90, ha="right", va="top", fontsize=8, color=LOST,
            )  # fmt: skip
    saved = [across.x(mark) for mark in curves.of("checkpoint")]
    if top:
        axes.plot(
            saved, [0.0] * len(saved), transform=axes.get_xaxis_transform(), linestyle="none", marker="^",
            color=SAVED if alone else colour, markersize=5, clip_on=False, zorder=5,
        )  # fmt: skip


def losses_of(curves: Curves) -> list[tuple[Mark, str]]:
    """Members lost, each with what is said of it: a server with the roll-back that followed."""
    backs = curves.of("roll-back")
    said = []
    for mark in curves.of("worker", "server", "etcd"):
        back = next((b for b in backs if mark.kind == "server" and 0 <= b.time - mark.time < SAME), None)
        said.append((mark, mark.text + (f", {back.text}" if back is not None else "")))
    return said


def _scales(axes: Any, curves: Sequence[Curves], name: str | None) -> None:
    for number, row in enumerate(axes):
        for place, one in enumerate(row):
            one.grid(True, color="#DDDDDD", linewidth=0.6)
            one.set_axisbelow(True)
            one.spines[["top", "right"]].set_visible(False)
            one.margins(x=0.015)
            one.tick_params(labelsize=9)
            if number == len(axes) - 1:
                one.set_xlabel(ACROSS[place].label)
    axes[0][0].set_ylabel("training loss")
    all_losses = [[point.loss for point in one.points if point.loss is not None] for one in curves]
    losses = [loss for each in all_losses for loss in each]
    smooth = [loss for each in all_losses for loss in smoothed(each, _width(each))]
    if losses and min(losses) > 0 and max(smooth) / min(smooth) >= LOG_FROM:
        axes[0][0].set_yscale("log")
        axes[0][0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes[0][0].yaxis.set_minor_formatter(NullFormatter())
        low = sorted(losses)[len(losses) // 200]
        axes[0][0].set_ylim(bottom=low / 1.3)
    bottom = axes[-1]
    bottom[0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    bottom[0].set_xlim(left=0)
    reached = [one.points[-1].wire for one in curves]
    if max(reached) > 4 * max(1, min(reached)):
        bottom[1].set_xscale("log")
    else:
        bottom[1].set_xlim(left=0)
        bottom[1].xaxis.set_major_locator(MaxNLocator(7))
    bottom[1].xaxis.set_major_formatter(EngFormatter(unit="B"))
    if name is not None:
        bottom[0].set_ylabel(f"evaluation: {name}")
        values = [seen.values[name] for one in curves for seen in one.evaluations if name in seen.values]
        if name == "accuracy" and min(values) >= 0 and max(values) <= 1:
            reach = max(1.0 - min(values), 0.02)
            bottom[0].set_ylim(max(0.0, 1.0 - 1.15 * reach), 1.0 + 0.03 * reach)
            bottom[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g}%"))


def _legend(curves: Sequence[Curves]) -> list[Any]:
    """Only what is in the picture."""
    alone = len(curves) == 1
    first = COLOURS[0] if alone else "#222222"
    handles: list[Any] = []
    if not alone:
        handles += [
            Line2D([], [], color=c, label=one.name) for one, c in zip(curves, _colours(len(curves)), strict=True)
        ]
    handles.append(Line2D([], [], color=first, alpha=0.3, linewidth=0.8, label="loss of each push"))
    handles.append(Line2D([], [], color=first, linewidth=1.8, label="its running mean"))
    if any(one.evaluations for one in curves):
        handles.append(Line2D([], [], color=first, marker="o", markersize=5, label="evaluation"))
    if any(one.given_up for one in curves):
        handles.append(Patch(color=LOST if alone else "#222222", alpha=0.12, label="given up in a roll-back"))
    kinds = {mark.kind for one in curves for mark in one.marks}
    for kind, style in STYLES.items():
        if kind in kinds:
            handles.append(Line2D([], [], color=LOST if alone else first, linestyle=style, label=f"{kind} lost"))
    if "checkpoint" in kinds:
        handles.append(Line2D([], [], color=SAVED, marker="^", linestyle="none", markersize=5, label="checkpoint"))
    return handles
