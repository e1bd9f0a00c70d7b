"""`dsj checkpoints`: what a job saved, and which of it belongs to its present history."""

import time

import click

from deepseek_operator.cli.answer import hint, output_option, say, say_json
from deepseek_operator.cli.errors import Refused
from deepseek_operator.cli.job_name import JobName
from deepseek_operator.cli.where import place
from deepseek_operator.kept import NotThere
from deepseek_operator.view.amounts import age, seconds_of, size
from deepseek_operator.view.report import aligned
from deepseek_runtime.contract.exit_codes import MISSING_INPUT, OK
from deepseek_runtime.contract.names import COMMAND


@click.command()
@click.argument("name", type=JobName())
@output_option
def checkpoints(name: str, output: str) -> int:
    """List the checkpoints of a job, the newest first.

    \b
      dsj checkpoints digits
      dsj export digits --step 2000

    Exit code: 0; 66 there is no such job, or its store cannot be reached.
    """
    job = place().find(name)
    try:
        uri, found = job.checkpoints()
    except NotThere as error:
        raise Refused(str(error), error.hint or f"{COMMAND} status {name}", MISSING_INPUT) from error
    if output == "json":
        rows = [
            {"step": one.step, "term": one.term, "created": one.created, "bytes": one.size, "current": one.current,
             "problem": one.problem or None}
            for one in found
        ]  # fmt: skip
        say_json({"job": name, "uri": uri, "checkpoints": rows})
        return OK
    if not found:
        say([f"{name} has saved nothing yet"])
        hint([f"{COMMAND} status {name}"])
        return OK
    table = [("STEP", "TERM", "SIZE", "AGE", "")]
    for one in found:
        at = seconds_of(one.created) if one.created else None
        old = "" if one.current else "from before a roll-back"
        word = f"cannot be read: {one.problem}" if one.problem else old
        born = age(time.time() - at) if at is not None else "-"
        table.append((str(one.step), str(one.term), size(one.size) if one.created else "-", born, word))
    say([f"{name}: {uri}", *aligned(table)])
    hint([f"{COMMAND} export {name}" + (f" --step {found[1].step}" if len(found) > 1 else "")])
    return OK
