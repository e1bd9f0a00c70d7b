"""How commands answer: `-o json`, and the hint what to do next, which never mixes with the answer."""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from deepseek_operator.cli.where import spelled

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def output_option(command: CommandT) -> CommandT:
    choice = click.Choice(["text", "json"])
    return click.option("-o", "--output", type=choice, default="text", help="Form of the answer.")(command)


def say(lines: Sequence[str]) -> None:
    click.echo("\n".join(lines))


def say_json(value: Any) -> None:
    """One document, for people to read as well."""
    click.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False, default=str))


def say_json_line(value: Any) -> None:
    """One line of a stream, there at once."""
    click.echo(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str))


def _plain(value: Any) -> Any:
    """JSON has no NaN: a loss that is none is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def hint(commands: Sequence[str], output: str = "text") -> None:
    """The next commands, on stderr."""
    if output == "text" and commands:
        click.echo(spelled(f"next: {'   '.join(commands)}"), err=True)


def unicode_out() -> bool:
    """Whether what standard output leads to can show more than ASCII."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return "utf" in encoding.lower()
