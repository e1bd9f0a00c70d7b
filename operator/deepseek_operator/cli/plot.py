"""`dsj plot`: loss and evaluation of one or more jobs, over steps and over bytes, as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from deepseek_operator.cli.answer import hint, output_option, say, say_json
from deepseek_operator.cli.errors import Refused
from deepseek_operator.cli.job_name import JobName
from deepseek_operator.cli.where import place
from deepseek_operator.curves import Curves
from deepseek_operator.place import Job
from deepseek_operator.view.amounts import count
from deepseek_runtime.contract.exit_codes import MISSING_INPUT, OK, USAGE
from deepseek_runtime.contract.names import COMMAND

SUFFIXES = (".png", ".svg", ".pdf")


@click.command()
@click.argument("names", nargs=-1, required=True, type=JobName(), metavar="NAME...")
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Where to: a .png, .svg or .pdf; by default NAME.png here.",
)
@output_option
def plot(names: tuple[str, ...], file: Path | None, output: str) -> int:
    """Draw loss and evaluation of jobs, over steps and over bytes.

    Lost members, roll-backs and checkpoints are marked. What a roll-back gave up is drawn faint.

    \b
      dsj plot digits
      dsj plot sparse dense -f compare.png

    Exit code: 0 drawn; 66 there is no such job, or it has trained nothing yet.
    """
    jobs = found_of(names)
    target = file or Path("-".join(names) + ".png")
    if target.suffix not in SUFFIXES:
        raise Refused(f"{target} is none of {', '.join(SUFFIXES)}", f"-f {target.stem or names[0]}.png", USAGE)
    found = [job.curves() for job in jobs]
    empty = [one.name for one in found if not one.points]
    if empty:
        when = " (a chief in a cluster stores what it measured with each checkpoint)" if place().cluster else ""
        raise Refused(f"{empty[0]} has trained nothing yet{when}", f"{COMMAND} status {empty[0]}", MISSING_INPUT)
    _drawn(found, target)
    if output == "json":
        say_json({"file": str(target.absolute()), "jobs": [summary(one) for one in found]})
        return OK
    said = []
    for one in found:
        back = f", {count(len(one.given_up), 'roll-back')}" if one.given_up else ""
        seen = f"{count(len(one.points), 'range')}, {count(len(one.evaluations), 'evaluation')}"
        said.append(f"{one.name}: {seen}{back}")
    say([f"{target}: {'; '.join(said)}"])
    hint([f"{COMMAND} tensorboard {names[0]}", f"{COMMAND} export {names[0]}"])
    return OK


def found_of(names: Sequence[str]) -> list[Job]:
    """Each job once. Raises NotThere."""
    return [place().find(name) for name in dict.fromkeys(names)]


def draw(curves: Sequence[Curves], file: Path) -> Path:
    """The picture of these jobs, at `file`, which says its format. Raises Refused, OSError."""
    _drawn(curves, file)
    return file


def _drawn(curves: Sequence[Curves], file: Path) -> None:
    try:
        from deepseek_operator.cli.picture import picture
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "matplotlib":
            raise
        raise Refused(
            f"{error.name} is not installed", "pip install 'deepseek-operator[local]'", MISSING_INPUT
        ) from error
    try:
        picture(curves, file)
    except OSError as error:
        remedy = f"name a folder that is there and yours to write: -f {Path.home() / file.name}"
        raise Refused(f"{file} cannot be written: {error.strerror or error}", remedy) from error


def summary(curves: Curves) -> dict[str, Any]:
    """What the picture shows, in figures."""
    points, evaluations = curves.points, curves.evaluations
    return {
        "name": curves.name,
        "pushes": len(points),
        "step": points[-1].step if points else None,
        "wireBytes": points[-1].wire if points else 0,
        "loss": points[-1].loss if points else None,
        "evaluations": [{"step": one.step, "wireBytes": one.wire, **one.values} for one in evaluations],
        "rolledBack": [
            {"fromStep": mark.step, "toStep": mark.back_to, "pushes": len(gone)}
            for mark, gone in zip(curves.of("roll-back"), curves.given_up, strict=True)
        ],
        "marks": [
            {"kind": mark.kind, "step": mark.step, "wireBytes": mark.wire, "time": mark.time, "text": mark.text}
            for mark in curves.marks
        ],
    }
