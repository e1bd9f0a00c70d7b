"""`dsj jobs`: a table of all jobs of this machine."""

import click

from deepseek_operator.cli.answer import hint, output_option, say, say_json
from deepseek_operator.cli.where import means_a_cluster, place
from deepseek_operator.place import Namespaces
from deepseek_operator.view.report import jobs_table
from deepseek_runtime.contract.exit_codes import OK
from deepseek_runtime.contract.names import COMMAND


@click.command()
@click.option("-A", "--all-namespaces", is_flag=True, callback=means_a_cluster, help="Those of the whole cluster.")
@output_option
def jobs(all_namespaces: bool, output: str) -> int:
    """List all jobs, those that have ended too.

    CHECKPOINT is the age of the newest one, RATE is in samples a second.
    """
    return show_all(output, all_namespaces)


def show_all(output: str, all_namespaces: bool = False) -> int:
    """Raises click.UsageError."""
    if all_namespaces:
        there = place()
        if not isinstance(there, Namespaces):
            raise click.UsageError("--all-namespaces is of a cluster, --here is this machine: give one of them")
        there.all_namespaces = True
    shots = place().looks()
    if output == "json":
        rows = [
            {"job": shot.name, "namespace": shot.namespace, "phase": shot.phase, "attended": shot.attended,
             "folder": shot.folder, "status": shot.status.model_dump(mode="json", by_alias=True)}
            for shot in shots
        ]  # fmt: skip
        say_json({"jobs": rows})
    elif shots:
        say(jobs_table(shots))
        hint([f"{COMMAND} status NAME", f"{COMMAND} watch NAME"])
    else:
        say([f"no jobs {place().described}"])
        hint([f"{COMMAND} run JOB.yaml"])
    return OK
