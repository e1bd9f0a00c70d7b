"""A job's name on the command line, completed from the jobs that there are."""

from contextlib import suppress

import click
from click.shell_completion import CompletionItem

from deepseek_operator.cli.where import place


class JobName(click.ParamType[str]):
    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        with suppress(Exception):  # what cannot be asked completes nothing
            return [CompletionItem(name) for name in place(ctx).names() if name.startswith(incomplete)]
        return []
