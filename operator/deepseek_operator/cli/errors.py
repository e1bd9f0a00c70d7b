"""What a command answers when it cannot do what it was asked to: a line for people, a hint, an exit code."""

from typing import IO, Any, Final

import click

STOPPED: Final = 75
"""The job is not at its end and nothing runs it: suspended, or its supervisor is gone (sysexits.h: try again)."""
UNAVAILABLE: Final = 69
"""The cluster does not answer, or knows no DeepseekJobs (sysexits.h)."""
FORBIDDEN: Final = 77
"""The cluster does not let you (sysexits.h)."""
TIMED_OUT: Final = 124
"""As timeout(1) says it."""
INTERRUPTED: Final = 130
"""Ctrl-C, as shells say it."""
TERMINATED: Final = 143
"""SIGTERM, as shells say it."""


class Refused(click.ClickException):
    """The message is for people; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "", code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code

    def show(self, file: IO[Any] | None = None) -> None:
        from deepseek_operator.cli.where import spelled

        click.echo(f"error: {self.message}", err=True)
        if self.hint:
            click.echo(f"hint: {spelled(self.hint)}", err=True)
