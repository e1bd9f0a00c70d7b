"""`dsj delete`: removes the folder of a job that has ended, with its logs and its own checkpoints."""

import sys

import click

from deepseek_operator.cli.answer import hint, output_option, say, say_json
from deepseek_operator.cli.errors import Refused
from deepseek_operator.cli.job_name import JobName
from deepseek_operator.jobs_here import find, look_or_unreadable
from deepseek_runtime.contract.exit_codes import CRASHED, OK
from deepseek_runtime.contract.names import COMMAND


@click.command()
@click.argument("name", type=JobName())
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_option
def delete(name: str, yes: bool, output: str) -> int:
    """Delete a job that does not run.

    Its folder goes, with logs, metrics and the checkpoints in it. Checkpoints that the manifest stores
    elsewhere stay. On a terminal it asks first.

    \b
      dsj delete digits
    """
    folder = find(name)
    if folder.alive():
        raise Refused(f"{name} is running", f"`{COMMAND} stop {name}` first", CRASHED)
    shot = look_or_unreadable(folder)
    if shot.members_live:
        raise Refused(f"members of {name} still run", f"`{COMMAND} stop {name}` first", CRASHED)
    if not yes and output == "text" and sys.stdin.isatty() and sys.stdout.isatty():
        click.confirm(f"delete {folder.path} with its checkpoints and logs?", abort=True)
    lock = folder.take_lock()
    if lock is None:
        raise Refused(f"{name} has just been started", f"`{COMMAND} stop {name}` first", CRASHED)
    folder.remove(lock)
    if output == "json":
        say_json({"job": name, "deleted": str(folder.path)})
    else:
        say([f"{name} is deleted"])
        hint([f"{COMMAND} jobs"])
    return OK
