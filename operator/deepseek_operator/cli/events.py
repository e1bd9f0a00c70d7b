"""`dsj events`: what happened to a job, in order."""

import click

from deepseek_operator.cli.answer import hint, output_option, say, say_json
from deepseek_operator.cli.job_name import JobName
from deepseek_operator.cli.where import place
from deepseek_operator.view.report import events_table
from deepseek_runtime.contract.exit_codes import OK
from deepseek_runtime.contract.names import COMMAND


@click.command()
@click.argument("name", type=JobName())
@output_option
def events(name: str, output: str) -> int:
    """List what happened to a job.

    The newest 50 events, the oldest first: starts, losses, recoveries, checkpoints, evaluations.

    \b
      dsj events digits
      dsj events digits -o json | jq '.events[] | select(.type == "Warning")'
    """
    shot = place().find(name).look()
    if output == "json":
        say_json(
            {"job": name, "events": [event.model_dump(mode="json", by_alias=True) for event in shot.status.events]}
        )
    else:
        say(events_table(shot) if shot.status.events else [f"{name} has no events yet"])
        hint([f"{COMMAND} why {name}", f"{COMMAND} logs {name}"])
    return OK
