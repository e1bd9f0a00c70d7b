"""Writes docs/reference/cli.md: `python -m deepseek_operator.cli.reference > docs/reference/cli.md`."""

import inspect
from collections.abc import Iterator

import click

from deepseek_operator.cli.main import SECTIONS, dsj
from deepseek_runtime.contract.names import COMMAND

HEADER = f"""\
# The command `{COMMAND}`

Made from the commands in `operator/deepseek_operator/cli` by `python -m deepseek_operator.cli.reference`; do not edit.
What the exit codes mean: [exit-codes.md](exit-codes.md). `kubectl-{COMMAND}` is installed too, so that
`kubectl {COMMAND}` is the same.

Answers go to standard output, hints and errors to standard error. `-o json` answers with one document, or with one a
line where a command goes on (`run`, `watch`, `logs`). Jobs are kept in `$XDG_STATE_HOME/{COMMAND}/NAME/`, by default
`~/.local/state/{COMMAND}/NAME/`. Names of jobs are completed after `eval "$({COMMAND} completion bash)"`.
"""


def reference() -> str:
    """The page, ending in a newline."""
    root = click.Context(dsj, info_name=COMMAND)
    parts = [HEADER]
    for title, names in SECTIONS:
        parts.append(f"\n## {title}\n")
        for name in names:
            command = dsj.get_command(root, name)
            if command is not None:
                parts += _command(command, click.Context(command, root, name))
    return "".join(parts)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"\n### {context.command_path}\n\n    {context.command_path} {usage}\n\n"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            yield "".join(f"    {line}\n" for line in inspect.cleandoc(paragraph[1:]).splitlines()) + "\n"
        else:
            yield " ".join(paragraph.split()) + "\n\n"
    yield "| option | |\n|---|---|\n"
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None and not isinstance(parameter, click.Argument):
            option, text = (cell.replace("|", "\\|") for cell in record)
            yield f"| `{option}` | {text} |\n"


if __name__ == "__main__":
    print(reference(), end="")
