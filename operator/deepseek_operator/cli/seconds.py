"""Lengths of time on the command line."""

from typing import Any

import click

LONGEST = 1e8
"""Three years; the waits of the operating system take no more."""


class Seconds(click.ParamType[float]):
    """Finite, and not below 0."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number <= LONGEST:  # NaN is in no range
            self.fail(f"{value} is no length of time; right: seconds from 0 to {LONGEST:.0f}, such as 90", param, ctx)
        return number
