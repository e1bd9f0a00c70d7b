"""`dsj export`: a job's model as one plain safetensors file."""

from math import isfinite
from pathlib import Path

import click

from deepseek_operator.cli.answer import hint, output_option, say, say_json
from deepseek_operator.cli.errors import Refused
from deepseek_operator.cli.job_name import JobName
from deepseek_operator.cli.where import place
from deepseek_operator.kept import NotThere
from deepseek_operator.place import Job
from deepseek_operator.view.amounts import count, metric, size
from deepseek_runtime.contract.exit_codes import MISSING_INPUT, OK, USAGE
from deepseek_runtime.contract.names import COMMAND

SUFFIX = ".safetensors"


@click.command()
@click.argument("name", type=JobName())
@click.option(
    "-f", "--file", type=click.Path(path_type=Path), default=None, help=f"Where to; by default NAME{SUFFIX} here."
)
@click.option("--step", type=click.IntRange(min=0), default=None, help="Of an older checkpoint; by default the newest.")
@output_option
def export(name: str, file: Path | None, step: int | None, output: str) -> int:
    """Write the model of a job as one plain safetensors file.

    It loads into the bare model: model.load_state_dict(safetensors.torch.load_file(FILE)). Of a job that still runs
    it is the newest checkpoint.

    \b
      dsj export digits
      dsj export digits --step 2000 -f before.safetensors

    Exit code: 0 written; 66 there is no such job or checkpoint, or the store cannot be reached.
    """
    job = place().find(name)
    target = _target(name, file)
    try:
        done = job.export(target, step)
    except NotThere as error:
        raise Refused(str(error), error.hint or f"{COMMAND} checkpoints {name}", MISSING_INPUT) from error
    reported = _reported(job, done.step)
    if output == "json":
        passed = [{"step": at, "term": term, "reason": why} for at, term, why in done.passed_over]
        say_json(
            {"job": name, "file": str(done.path), "step": done.step, "term": done.term, "tensors": done.tensors,
             "bytes": done.size, "metrics": _finite(reported), "passedOver": passed}
        )  # fmt: skip
        return OK
    for at, _, why in done.passed_over:
        click.echo(f"note: the checkpoint of step {at} was passed over: {why}", err=True)
    scores = "".join(f", {key} {metric(value)}" for key, value in (reported or {}).items())
    say(
        [
            f"{target}: {name} at step {done.step}{scores}; {count(done.tensors, 'tensor')}, {size(done.size)}",
            f'load it: model.load_state_dict(safetensors.torch.load_file("{target}"))',
        ]
    )
    hint([f"{COMMAND} checkpoints {name}", f"{COMMAND} plot {name}"])
    return OK


def _target(name: str, file: Path | None) -> Path:
    """Raises Refused for a file that is surely something else."""
    if file is None:
        return Path(name + SUFFIX)
    if file.is_dir():
        return file / (name + SUFFIX)
    if file.exists() and file.suffix != SUFFIX:
        raise Refused(f"{file} exists and is no {SUFFIX} file", "name another file, or remove that one", USAGE)
    return file


def _reported(job: Job, step: int) -> dict[str, float] | None:
    """What the job's evaluation of that very step said; None: it was not evaluated."""
    progress = job.look().progress
    return dict(progress.metrics) if progress is not None and progress.metrics_step == step else None


def _finite(values: dict[str, float] | None) -> dict[str, float | None] | None:
    """JSON has no NaN."""
    return {key: value if isfinite(value) else None for key, value in values.items()} if values is not None else None
