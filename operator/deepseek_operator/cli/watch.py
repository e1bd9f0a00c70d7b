"""`dsj watch`: the live view of a job that was started elsewhere."""

import click

from deepseek_operator.cli.answer import hint, output_option, say, say_json_line, unicode_out
from deepseek_operator.cli.following import code_of, follow
from deepseek_operator.cli.job_name import JobName
from deepseek_operator.cli.signals import Asks
from deepseek_operator.cli.viewers import viewer
from deepseek_operator.cli.where import place
from deepseek_operator.view.summary import next_steps, summary, summary_json
from deepseek_runtime.contract.exit_codes import OK


@click.command()
@click.argument("name", type=JobName())
@output_option
def watch(name: str, output: str) -> int:
    """Show a job until it ends. Ctrl-C or q leaves the view; the job runs on.

    \b
      dsj watch digits
      dsj watch digits -o json | jq .step

    Exit code: 0 when the view was left or the job has succeeded; else the job's, or 75 when it is suspended.
    """
    job = place().find(name)
    shot = job.look()
    with Asks() as asks:
        view = viewer(output, True, shot.status.events)
        followed = follow(job, view, asks, lambda times: None, "Ctrl-C or q leaves this view, the job runs on")
    code = OK if followed.left else code_of(followed.last)
    if output == "json":
        if not followed.left:
            say_json_line(summary_json(followed.last, code))
    elif followed.left:
        say([f"{name} runs on: step {followed.last.step}"])
        hint(next_steps(followed.last))
    else:
        say(summary(followed.last, code, unicode=unicode_out()))
        hint(next_steps(followed.last))
    return code
