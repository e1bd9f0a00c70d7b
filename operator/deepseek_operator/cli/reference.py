"""Writes docs/reference/cli.md: `python -m deepseek_operator.cli.reference > docs/reference/cli.md`."""

import inspect
from collections.abc import Iterator, Sequence

import click

from deepseek_operator.cli.main import SECTIONS, dsj
from deepseek_operator.cli.where import options
from deepseek_runtime.contract.names import COMMAND

HEADER = f"""\
# The command `{COMMAND}`

Made from the commands in `operator/deepseek_operator/cli` by `python -m deepseek_operator.cli.reference`; do not edit.
What the exit codes mean: [exit-codes.md](exit-codes.md). `kubectl-{COMMAND}` is installed too, so that
`kubectl {COMMAND}` is the same.

Answers go to standard output, hints and errors to standard error. `-o json` answers with one document, or with one a
line where a command goes on (`run`, `watch`, `logs`). Jobs are kept in `$XDG_STATE_HOME/{COMMAND}/NAME/`, by default
`~/.local/state/{COMMAND}/NAME/`. Names of jobs are completed after `eval "$({COMMAND} completion bash)"`.

## Which jobs: this machine's, or a cluster's

Every command takes these, before its name or after it. Each of the last three, `DSJ_CLUSTER=1` in the environment, and
`kubectl {COMMAND}` mean a cluster; nothing of it, or `--here`, this machine. Answers have the same shape in both.

| option | |
|---|---|
{{WHERE}}
What is other in a cluster:
- `run` applies the manifest server-side (field manager `{COMMAND}`). A script's folder goes along as a ConfigMap that
  belongs to the job: files that lie flat, 1 MB in all; more belongs into an image. Ctrl-C leaves the view, the
  job runs on.
- `stop` sets `spec.suspend`, `run --resume NAME` takes it back. A job that has failed or succeeded does not go on:
  `run --replace` begins anew. `scale` writes `spec.workers.replicas`.
- `logs` are those of pods that are still there: `spec.runPolicy.cleanPodPolicy` says which stay. `supervisor` and
  `etcd` have no logs of a job's own there. `watch` and `status` know no rates of single workers.
- `checkpoints`, `export`, `plot` and `tensorboard` start a pod for some seconds beside the job, with its image and its
  credentials, and read through a port-forward: so every storage can be reached, a claim or the chart's own store too.
  That needs the rights to create and delete pods and to forward ports (the role `edit`). `DSJ_IMAGE` names another
  image. Curves reach as far as the newest checkpoint: with it the chief stores what it measured.
"""


def reference() -> str:
    """The page, ending in a newline."""
    root = click.Context(dsj, info_name=COMMAND)
    parts = [HEADER.replace("{WHERE}\n", "".join(_rows(options(hidden=False), root)) + "\n")]
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
    yield from _rows(command.params, context)


def _rows(parameters: Sequence[click.Parameter], context: click.Context) -> Iterator[str]:
    for parameter in parameters:
        record = parameter.get_help_record(context)
        if record is not None and not isinstance(parameter, click.Argument):
            option, text = (cell.replace("|", "\\|") for cell in record)
            yield f"| `{option}` | {text} |\n"


if __name__ == "__main__":
    print(reference(), end="")
