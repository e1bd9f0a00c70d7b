"""`dsj tensorboard`: a job's measurements as TensorBoard event files. Written here, never in a member."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from deepseek_operator.cli.answer import hint, output_option, say, say_json
from deepseek_operator.cli.errors import Refused
from deepseek_operator.cli.job_name import JobName
from deepseek_operator.cli.plot import found_of
from deepseek_operator.curves import Curves, Evaluation, Point
from deepseek_operator.view.amounts import count
from deepseek_runtime.contract.exit_codes import MISSING_INPUT, OK
from deepseek_runtime.contract.names import COMMAND

SUFFIX: Final = f".{COMMAND}"
"""Of our event files: what an earlier call wrote is replaced, files of others stay."""
TAGS: Final = {
    "loss": "training/loss",
    "staleness": "training/staleness",
    "loss_scale": "training/loss scale",
    "seconds": "training/seconds a range",
}
"""Key of a push in metrics.jsonl -> tag."""


class Value(NamedTuple):
    tag: str
    value: float
    step: int
    time: float
    """Seconds since the Unix epoch."""


@click.command()
@click.argument("names", nargs=-1, required=True, type=JobName(), metavar="NAME...")
@click.option(
    "--logdir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder of runs; each job gets a run of its name in it.",
)
@output_option
def tensorboard(names: tuple[str, ...], logdir: Path, output: str) -> int:
    """Write what was measured in jobs as TensorBoard event files.

    What a roll-back gave up is a run of its own, "NAME given up 1". Called again, the files are written anew.

    \b
      dsj tensorboard digits
      dsj tensorboard digits sparse --logdir /tmp/runs

    Exit code: 0 written; 66 there is no such job, or it has measured nothing yet.
    """
    found = [job.curves() for job in found_of(names)]
    runs: list[dict[str, Any]] = []
    for one in found:
        if not one.points and not one.evaluations:
            raise Refused(f"{one.name} has measured nothing yet", f"{COMMAND} status {one.name}", MISSING_INPUT)
        try:
            _clear(logdir, one.name)
            runs.append(_write(logdir / one.name, list(values(one.points, one.evaluations)), _diary(one)))
            for number, gone in enumerate(one.given_up, 1):
                runs.append(_write(logdir / f"{one.name} given up {number}", list(values(gone, ())), ""))
        except OSError as error:
            remedy = f"--logdir names another folder, such as {Path.home() / 'runs'}"
            raise Refused(f"{logdir} cannot be written: {error.strerror or error}", remedy) from error
    if output == "json":
        say_json({"logdir": str(logdir.absolute()), "runs": runs, "view": f"tensorboard --logdir {logdir}"})
        return OK
    say([f"{run['folder']}: {count(run['values'], 'value')} of {count(len(run['tags']), 'curve')}" for run in runs])
    hint([f"tensorboard --logdir {logdir}"])
    return OK


def values(points: Sequence[Point], evaluations: Sequence[Evaluation]) -> Iterator[Value]:
    """Everything with a number, in the order of time."""
    for point in points:
        for key, tag in TAGS.items():
            value = point.row.get(key)
            if isinstance(value, int | float):
                yield Value(tag, float(value), point.step, point.time)
        yield Value("network/bytes", float(point.wire), point.step, point.time)
    for one in evaluations:
        for name, value in one.values.items():
            yield Value(f"evaluation/{name}", value, one.step, one.time)


def _diary(curves: Curves) -> str:
    """What happened, as a table in Markdown: TensorBoard shows it among the texts."""
    if not curves.marks:
        return ""
    rows = [f"| {mark.step} | {mark.kind} | {mark.text} |" for mark in curves.marks]
    return "\n".join(["| step | what | |", "|---|---|---|", *rows])


def _clear(logdir: Path, name: str) -> None:
    for folder in (logdir / name, *logdir.glob(f"{name} given up *")):
        for file in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
            file.unlink()
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _write(folder: Path, found: Sequence[Value], diary: str) -> dict[str, Any]:
    """One event file. Raises Refused, OSError."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
        from tensorboard.util.tensor_util import make_tensor_proto
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("tensorboard"):
            raise
        raise Refused(
            "tensorboard is not installed", "pip install 'deepseek-operator[local]'", MISSING_INPUT
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    writer = EventFileWriter(str(folder), filename_suffix=SUFFIX)
    for value in found:
        summary = Summary(value=[Summary.Value(tag=value.tag, simple_value=value.value)])
        writer.add_event(Event(wall_time=value.time, step=value.step, summary=summary))
    if diary:
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        text = Summary.Value(tag="events", metadata=metadata, tensor=make_tensor_proto(diary))
        writer.add_event(Event(wall_time=found[-1].time, step=found[-1].step, summary=Summary(value=[text])))
    writer.close()
    return {"folder": str(folder), "values": len(found), "tags": sorted({value.tag for value in found})}
