"""`dsj stop`: drains a job and waits until nothing of it is left, or kills it."""

import click

from deepseek_operator.cli.answer import hint, output_option, say, say_json
from deepseek_operator.cli.errors import TIMED_OUT, Refused
from deepseek_operator.cli.job_name import JobName
from deepseek_operator.cli.seconds import Seconds
from deepseek_operator.cli.where import place
from deepseek_operator.view.summary import next_steps
from deepseek_runtime.contract.exit_codes import CRASHED, OK, USAGE
from deepseek_runtime.contract.names import COMMAND


@click.command()
@click.argument("name", type=JobName())
@click.option("--kill", is_flag=True, help="Do not drain: what was done since the newest checkpoint is lost.")
@click.option("--timeout", type=Seconds(), default=600.0, show_default=True, help="Seconds to wait.")
@output_option
def stop(name: str, kill: bool, timeout: float, output: str) -> int:
    """Stop a job and leave it suspended.

    It is drained and a checkpoint written; no process of it is left. `dsj run --resume NAME` goes on. In a cluster it
    is spec.suspend that is set; there is no --kill there.

    \b
      dsj stop digits
      dsj stop digits --kill

    Exit code: 0 nothing of it runs any more; 124 it still does after --timeout.
    """
    job = place().find(name)
    if kill and place().cluster:
        how = f"`{COMMAND} stop {name}` drains it within a bounded time; kubectl delete dsj {name} deletes it now"
        raise Refused("--kill is for jobs of this machine", how, USAGE)
    before = job.look()
    ran = before.attended or before.members_live
    if ran or not before.over:
        if output == "text" and before.attended and not kill:
            click.echo(f"{name}: draining; a checkpoint is written, then all members leave", err=True)
        job.stop(kill=kill)
        if not job.wait(timeout):
            now = "" if place().cluster else f", `{COMMAND} stop {name} --kill` ends it now"
            do = f"`{COMMAND} watch {name}` shows what it does{now}"
            raise Refused(f"{name} still runs after {timeout:g} s; it goes on stopping", do, TIMED_OUT)
    left = job.clear_up()
    if left:
        raise Refused(left, f"`{COMMAND} logs {name} --role supervisor`", CRASHED)
    shot = job.look()
    if output == "json":
        say_json({"job": name, "ran": ran, "phase": shot.phase, "step": shot.step, "exitCode": shot.status.exit_code})
        return OK
    checkpoint = shot.progress.checkpoint if shot.progress is not None else None
    saved = f", newest checkpoint: step {checkpoint.step}" if checkpoint is not None else ""
    if ran:
        say([f"{name} is stopped at step {shot.step}: {shot.phase}{saved}"])
    else:
        say([f"{name} did not run: {shot.phase}{saved}"])
    hint(next_steps(shot))
    return OK
