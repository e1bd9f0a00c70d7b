"""What is wrong with a manifest, in a form that people and programs read: field, value, what would be right, where."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from deepseek_runtime.contract.exit_codes import CONFIG, MISSING_INPUT

Kind = Literal[
    "yaml", "duplicate", "document", "required", "unknown", "type", "range", "name", "exclusive", "combination",
    "missing", "scheme", "store",
]  # fmt: skip
"""The class of a problem, named in `-o json` and in docs/reference/manifests.md."""
Path = tuple[str | int, ...]

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. line and column count from 1; 0: of the file as a whole."""

    kind: Kind
    field: str
    """As the YAML spells it: spec.training.batchSize, spec.workers.pod.env[0].name; empty: the document."""
    message: str
    """What is wrong, with the value given."""
    right: str = ""
    """What would be right."""
    value: str | None = None
    """The value given, as JSON, cut to 60 characters; None: there is none."""
    see: str = ""
    """A page of docs/ that says more."""
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        field = f"{self.field}: " if self.field else ""
        right = f"; right: {self.right}" if self.right else ""
        see = f" (see {self.see})" if self.see else ""
        return f"{where}{field}{self.message}{right}{see}"

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    def at(self, file: str, line: int, column: int) -> "Problem":
        return replace(self, file=file, line=line, column=column)


class ManifestError(Exception):
    """A manifest cannot be used. All its problems at once, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.column, p.field)))
        super().__init__("\n".join(map(str, self.problems)))

    @property
    def exit_code(self) -> int:
        """66 when all that is wrong is that something does not exist or is not reached, else 78."""
        return exit_code_of(self.problems)


def exit_code_of(problems: Sequence[Problem]) -> int:
    """0 for none, 66 when each is something that is not there, 78 otherwise (docs/reference/exit-codes.md)."""
    if not problems:
        return 0
    return MISSING_INPUT if all(problem.kind in ("missing", "store") for problem in problems) else CONFIG


def spell(path: Path) -> str:
    """('spec', 'env', 0, 'name') -> spec.env[0].name; keys that hold dots or slashes in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("-", "").replace("_", "").isalnum():
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part)}]"
    return text


def is_text(name: str) -> bool:
    """Whether JSON and YAML can hold it: a file's name may be bytes that are no UTF-8, surrogates in Python."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object) -> str:
    """A value as JSON, short enough for a line; mappings and lists by what they are."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) <= _SHOWN:
        return text
    return text[: _SHOWN - 4] + '..."' if isinstance(value, str) else text[: _SHOWN - 3] + "..."
