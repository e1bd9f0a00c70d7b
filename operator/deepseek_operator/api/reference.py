"""Writes docs/reference/job.md from the models: `python -m deepseek_operator.api.reference > docs/reference/job.md`."""

import json
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from deepseek_operator.api.describe import alias_of, shape_of_field
from deepseek_operator.api.job import DeepseekJob

HEADER = """\
# DeepseekJob, field by field

Made from the models in `operator/deepseek_operator/api` by `python -m deepseek_operator.api.reference`; do not edit.
Which manifests are refused, and why: [manifests.md](manifests.md).
"""


def reference() -> str:
    """The page, ending in a newline."""
    parts = [HEADER]
    first: dict[type[BaseModel], str] = {}
    for path, model in _sections(DeepseekJob, ""):
        if model in first:
            parts.append(f"\n## {path}\n\nAs `{first[model]}`.\n")
            continue
        first[model] = path
        parts.append(f"\n## {path or 'DeepseekJob'}\n\n{_one_line(model.__doc__)}\n\n")
        parts.append("| field | takes | default | |\n|---|---|---|---|\n")
        parts.extend(_row(name, info) for name, info in model.model_fields.items())
    return "".join(parts)


def _sections(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Every mapping of the resource, in the order of the YAML."""
    yield path, model
    for name, info in model.model_fields.items():
        shape, here = shape_of_field(info), f"{path}.{alias_of(name, info)}".lstrip(".")
        if shape.model is not None:
            yield from _sections(shape.model, here)
        elif shape.item is not None and shape.item.model is not None:
            yield from _sections(shape.item.model, f"{here}[]")


def _row(name: str, info: FieldInfo) -> str:
    shape = shape_of_field(info)
    takes = "a mapping, below" if shape.model is not None else shape.words()
    if shape.item is not None and shape.item.model is not None:
        takes = "a list of mappings, below"
    cells = (f"`{alias_of(name, info)}`", takes, _default(info), _one_line(info.description))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    if info.default is None or isinstance(info.default, BaseModel):
        return ""
    return f"`{json.dumps(info.default)}`" if info.default not in ("", {}, []) else "empty"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    print(reference(), end="")  # noqa: T201 -- its output is the page
