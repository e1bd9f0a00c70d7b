"""`dsj completion`: what a shell must be told so that it completes commands, options and names of jobs."""

import click
from click.shell_completion import get_completion_class

from deepseek_operator.cli.errors import Refused
from deepseek_runtime.contract.exit_codes import CRASHED, OK
from deepseek_runtime.contract.names import COMMAND


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the completion script of a shell.

    \b
      eval "$(dsj completion bash)"
      dsj completion fish > ~/.config/fish/completions/dsj.fish
    """
    made = get_completion_class(shell)
    if made is None:
        raise Refused(f"no completion for {shell}", code=CRASHED)
    root = context.find_root().command
    click.echo(made(root, {}, COMMAND, f"_{COMMAND.upper()}_COMPLETE").source())
    return OK
