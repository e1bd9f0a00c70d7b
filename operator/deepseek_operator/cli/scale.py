"""`dsj scale`: other numbers of workers and servers, while the job runs."""

import click

from deepseek_operator.api.job import MAX_SERVERS
from deepseek_operator.cli.answer import hint, output_option, say, say_json
from deepseek_operator.cli.errors import Refused
from deepseek_operator.cli.job_name import JobName
from deepseek_operator.cli.where import place
from deepseek_operator.view.sentence import why
from deepseek_runtime.contract.exit_codes import OK, USAGE
from deepseek_runtime.contract.names import COMMAND


@click.command()
@click.argument("name", type=JobName())
@click.option("--workers", type=click.IntRange(min=1), help="How many; within spec.workers.min and max.")
@click.option("--servers", type=click.IntRange(1, MAX_SERVERS), help="How many; their parts of the weights move.")
@output_option
def scale(name: str, workers: int | None, servers: int | None, output: str) -> int:
    """Ask for another number of workers, or of servers. The job trains on; no sample is lost or counted twice.

    \b
      dsj scale digits --workers 5
      dsj scale digits --servers 3
    """
    if workers is None and servers is None:
        raise click.UsageError("Missing option '--workers' or '--servers'.")
    job = place().find(name)
    shot = job.look()
    if shot.over:
        raise Refused(f"{why(shot).sentence}", f"`{COMMAND} run --replace JOB.yaml` starts it anew", USAGE)
    try:
        job.scale(workers, servers)
    except ValueError as error:
        raise Refused(str(error), "the manifest says so", USAGE) from error
    if output == "json":
        asked = {role: count for role, count in (("workers", workers), ("servers", servers)) if count is not None}
        say_json({"job": name, **asked, "running": shot.attended})
        return OK
    status = shot.status
    wanted = [
        (now.desired, count, role)
        for role, now, count in (("workers", status.workers, workers), ("servers", status.servers, servers))
        if count is not None
    ]
    if shot.attended:
        say([f"{name}: " + ", ".join(f"{before} -> {count} {role}" for before, count, role in wanted)])
        hint([f"{COMMAND} watch {name}"])
    else:
        many = " and ".join(f"{count} {role}" for _, count, role in wanted)
        say([f"{name} does not run ({shot.phase}); it will go on with {many}"])
        hint([f"{COMMAND} run --resume {name}"])
    return OK
