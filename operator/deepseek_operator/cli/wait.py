"""`dsj wait`: returns when a job has ended, whichever way, or runs."""

import time

import click

from deepseek_operator.cli.answer import hint, output_option, say, say_json
from deepseek_operator.cli.errors import INTERRUPTED, TIMED_OUT, Refused
from deepseek_operator.cli.following import code_of, follow
from deepseek_operator.cli.job_name import JobName
from deepseek_operator.cli.seconds import Seconds
from deepseek_operator.cli.signals import Asks
from deepseek_operator.cli.viewers import Silent
from deepseek_operator.cli.where import place
from deepseek_operator.view.sentence import why
from deepseek_operator.view.snapshot import Snapshot
from deepseek_operator.view.summary import next_steps
from deepseek_runtime.contract.exit_codes import OK
from deepseek_runtime.contract.names import COMMAND


@click.command()
@click.argument("name", type=JobName())
@click.option("--for", "state", type=click.Choice(["finished", "running"]), default="finished", show_default=True)
@click.option("--timeout", type=Seconds(), default=None, help="Seconds; none: as long as it takes.")
@output_option
def wait(name: str, state: str, timeout: float | None, output: str) -> int:
    """Wait until a job has ended, or trains.

    It has ended, well or not, when all its processes have left too.

    \b
      dsj wait digits && dsj export digits
      dsj wait digits --for running --timeout 60

    Exit code: 0 it has succeeded (or runs, as asked); 64, 65, 66, 78, 1 it has failed, as its members' exit code;
    75 it is suspended, so it will not end by itself; 124 not within --timeout.
    """
    job = place().find(name)
    end = None if timeout is None else time.monotonic() + timeout
    late = False

    def enough(shot: Snapshot) -> bool:
        nonlocal late
        late = end is not None and time.monotonic() >= end
        return late or (state == "running" and _trains(shot))

    with Asks() as asks:
        followed = follow(job, Silent(), asks, lambda times: None, until=enough)
    shot = followed.last
    if followed.left:
        return INTERRUPTED
    if late and shot.attended and not (state == "running" and _trains(shot)):
        raise Refused(f"{name} is not {state} after {timeout:g} s: {shot.phase}", f"{COMMAND} why {name}", TIMED_OUT)
    code = OK if shot.attended else code_of(shot)
    if output == "json":
        said = why(shot)
        say_json({"job": name, "phase": shot.phase, "exitCode": code, "reason": said.reason, "message": said.sentence})
    else:
        say([why(shot).sentence])
        hint(next_steps(shot))
    return code


def _trains(shot: Snapshot) -> bool:
    return any(c.type == "Running" and c.status == "True" for c in shot.status.conditions)
