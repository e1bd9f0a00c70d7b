"""`dsj status`: one job in blocks, or the table of all."""

from dataclasses import replace

import click

from deepseek_operator.cli.answer import hint, output_option, say, say_json, unicode_out
from deepseek_operator.cli.job_name import JobName
from deepseek_operator.cli.jobs import show_all
from deepseek_operator.cli.where import place
from deepseek_operator.view.report import job_report
from deepseek_operator.view.summary import next_steps
from deepseek_runtime.contract.exit_codes import OK


@click.command()
@click.argument("name", type=JobName(), required=False)
@output_option
def status(name: str | None, output: str) -> int:
    """Show one job in full, or all in a table.

    Of one: progress, members, conditions, last failure, recoveries, newest events.

    \b
      dsj status
      dsj status digits
      dsj status digits -o json | jq .status.progress
    """
    if name is None:
        return show_all(output)
    job = place().find(name)
    shot = job.look()
    if output == "json":
        whole = shot.status.model_dump(mode="json", by_alias=True)
        say_json(
            {"job": name, "namespace": shot.namespace, "phase": shot.phase, "attended": shot.attended,
             "folder": shot.folder, "status": whole}
        )  # fmt: skip
        return OK
    measured = job.measured()
    measured.read()
    shot = replace(shot, rates=measured.rates(shot.now))
    say(job_report(shot, unicode=unicode_out()))
    hint(next_steps(shot))
    return OK
