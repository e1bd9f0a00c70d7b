"""A job's name on the command line, completed from the jobs that there are."""

import click
from click.shell_completion import CompletionItem

from deepseek_operator.jobs_here import names


class JobName(click.ParamType[str]):
    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in names() if name.startswith(incomplete)]
