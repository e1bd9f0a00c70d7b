"""`dsj scale`: another number of workers, while the job runs."""

import click

from deepseek_operator.cli.answer import hint, output_option, say, say_json
from deepseek_operator.cli.errors import Refused
from deepseek_operator.cli.job_name import JobName
from deepseek_operator.cli.where import place
from deepseek_operator.view.sentence import why
from deepseek_runtime.contract.exit_codes import OK, USAGE
from deepseek_runtime.contract.names import COMMAND


@click.command()
@click.argument("name", type=JobName())
@click.option("--workers", type=click.IntRange(min=1), required=True, help="How many; within spec.workers.min and max.")
@output_option
def scale(name: str, workers: int, output: str) -> int:
    """Ask for another number of workers. The job trains on meanwhile; no sample is lost or counted twice.

    \b
      dsj scale digits --workers 5
    """
    job = place().find(name)
    shot = job.look()
    if shot.over:
        raise Refused(f"{why(shot).sentence}", f"`{COMMAND} run --replace JOB.yaml` starts it anew", USAGE)
    try:
        job.scale(workers)
    except ValueError as error:
        raise Refused(str(error), "the manifest says so", USAGE) from error
    if output == "json":
        say_json({"job": name, "workers": workers, "running": shot.attended})
        return OK
    before = shot.status.workers.desired
    if shot.attended:
        say([f"{name}: {before} -> {workers} workers"])
        hint([f"{COMMAND} watch {name}"])
    else:
        say([f"{name} does not run ({shot.phase}); it will go on with {workers} workers"])
        hint([f"{COMMAND} run --resume {name}"])
    return OK
