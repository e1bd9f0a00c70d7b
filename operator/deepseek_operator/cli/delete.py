"""`dsj delete`: removes the folder of a job that has ended, with its logs and its own checkpoints."""

import sys

import click

from deepseek_operator.cli.answer import hint, output_option, say, say_json
from deepseek_operator.cli.errors import Refused
from deepseek_operator.cli.job_name import JobName
from deepseek_operator.cli.where import place
from deepseek_operator.place import Busy
from deepseek_runtime.contract.exit_codes import CRASHED, OK
from deepseek_runtime.contract.names import COMMAND


@click.command()
@click.argument("name", type=JobName())
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_option
def delete(name: str, yes: bool, output: str) -> int:
    """Delete a job that does not run.

    Its folder goes, with logs, metrics and the checkpoints in it. Checkpoints that the manifest stores
    elsewhere stay. On a terminal it asks first. In a cluster the DeepseekJob goes with its pods; all checkpoints stay.

    \b
      dsj delete digits
    """
    job = place().find(name)
    if not yes and output == "text" and sys.stdin.isatty() and sys.stdout.isatty():
        click.confirm(f"delete {job.what_goes()}?", abort=True)
    try:
        gone = job.delete()
    except Busy as error:
        raise Refused(str(error), f"`{COMMAND} stop {name}` first", CRASHED) from error
    if output == "json":
        say_json({"job": name, "deleted": gone})
    else:
        say([f"{name} is deleted"])
        hint([f"{COMMAND} jobs"])
    return OK
