"""One method of the real code, and what stands in its place."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Mutation:
    rule: str
    """As protocol.md counts it."""
    owner: Any
    """Class or module."""
    name: str
    make: Callable[[Any], Any]
    """From the original to what stands in its place."""


def always(value: Any) -> Callable[[Any], Any]:
    return lambda original: lambda *args, **keywords: value


def static(value: Any) -> Callable[[Any], Any]:
    return lambda original: staticmethod(lambda *args, **keywords: value)
