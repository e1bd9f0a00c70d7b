"""`dsj jobs`: a table of all jobs of this machine."""

import click

from deepseek_operator.cli.answer import hint, output_option, say, say_json
from deepseek_operator.jobs_here import find, look_or_unreadable, names
from deepseek_operator.state_folder import default_state_root
from deepseek_operator.view.report import jobs_table
from deepseek_runtime.contract.exit_codes import OK
from deepseek_runtime.contract.names import COMMAND


@click.command()
@output_option
def jobs(output: str) -> int:
    """List the jobs of this machine, those that have ended too.

    CHECKPOINT is the age of the newest one, RATE is in samples a second.
    """
    return show_all(output)


def show_all(output: str) -> int:
    shots = [look_or_unreadable(find(name)) for name in names()]
    if output == "json":
        rows = [
            {"job": shot.name, "phase": shot.phase, "attended": shot.attended, "folder": shot.folder,
             "status": shot.status.model_dump(mode="json", by_alias=True)}
            for shot in shots
        ]  # fmt: skip
        say_json({"jobs": rows})
    elif shots:
        say(jobs_table(shots))
        hint([f"{COMMAND} status NAME", f"{COMMAND} watch NAME"])
    else:
        say([f"no jobs in {default_state_root()}"])
        hint([f"{COMMAND} run JOB.yaml"])
    return OK
