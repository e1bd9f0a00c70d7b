"""`dsj why`: one sentence."""

import click

from deepseek_operator.cli.answer import output_option, say, say_json
from deepseek_operator.cli.job_name import JobName
from deepseek_operator.cli.where import place
from deepseek_operator.view.sentence import why as reason_of
from deepseek_runtime.contract.exit_codes import OK


@click.command()
@click.argument("name", type=JobName())
@output_option
def why(name: str, output: str) -> int:
    """Say in one sentence why a job does not run.

    Or what failed: role, index, cause, and what to do.

    \b
      dsj why digits
    """
    shot = place().find(name).look()
    said = reason_of(shot)
    if output == "json":
        failure = shot.status.last_failure
        say_json(
            {
                "job": name,
                "phase": shot.phase,
                "reason": said.reason,
                "sentence": said.sentence,
                "remedy": place().spelled(said.remedy),
                "lastFailure": failure.model_dump(mode="json", by_alias=True) if failure is not None else None,
            }
        )
        return OK
    say([said.sentence])
    if said.remedy:
        click.echo(f"next: {place().spelled(said.remedy)}", err=True)
    return OK
