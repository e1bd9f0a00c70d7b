"""Who may say what to a server: a key is of a role, and a worker's says nothing that only servers say."""

from typing import Any, Final

from deepseek_runtime.contract.names import Role
from deepseek_runtime.protocol.files import FileRef
from deepseek_runtime.protocol.messages import Beat, Hello, InitialPart, Message, Pull, Push, Report
from deepseek_runtime.space import Space

_WORKERS: Final = (Hello, Beat, Report, Push, Pull, InitialPart)
LARGEST_WEIGHT: Final = 16.0
"""w of a push is a share of one turn of all workers, or 1; more than a few is no share of anything."""


def may_say(role: Role, message: Message) -> bool:
    return isinstance(message, _WORKERS) == (role == "worker")


def has_weight(push: Push) -> bool:
    """Whether its w can be one."""
    return 0.0 <= push.w <= LARGEST_WEIGHT


def fault_of(report: Report) -> str | None:
    """What is wrong with the body of a report, which is free in form: None if its chief can take it."""
    body = report.body
    try:
        if report.kind == "evaluated":
            int(body["step"])
            {str(name): float(value) for name, value in dict(body["metrics"]).items()}
        elif report.kind == "moments":
            int(body["step"])
            _file(body.get("file"))
        elif report.kind == "offer":
            _count(body["number"])
            _count(body["samples"])
            Space.from_json(body["space"])
            _file(body.get("fixed"))
            if not all(isinstance(name, str) for pair in dict(body["tied"]).items() for name in pair):
                return "tied names no tensors"
    except KeyError as error:
        return f"{error} is missing"
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        return f"{type(error).__name__}: {error}"[:200]
    return None


def _count(value: Any) -> None:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.40} is no count")


def _file(value: Any) -> None:
    if value is None or value == {}:
        return
    file = FileRef(**value)
    if not isinstance(file.path, str) or not isinstance(file.sha256, str):
        raise TypeError("a file has a path and a checksum")
    _count(file.size)
