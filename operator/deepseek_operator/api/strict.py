"""The strict face of the models, for `dsj validate` and `dsj run`: everything that is wrong at once, in words.

Reading what a cluster stored is tolerant instead (load.read_job): or an old operator would crash on a newer job.
"""

import copy
import difflib
import re
from collections.abc import Iterator
from dataclasses import replace

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from deepseek_operator.api import rules
from deepseek_operator.api.describe import alias_of, field_of, shape_at, shape_of_field
from deepseek_operator.api.documents import Document
from deepseek_operator.api.job import LONGEST_MEMBER, MAX_JOB_NAME, DeepseekJob
from deepseek_operator.api.problems import Path, Problem, shown, spell
from deepseek_operator.api.reserved import taken_names
from deepseek_operator.api.section_rules import broken_inside
from deepseek_runtime.contract.names import API_VERSION, KIND, MAX_NAME, member_name

_KUBERNETES_METADATA = (
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generation",
    "managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid",
)  # fmt: skip
_KUBERNETES_OWN = {
    ("status",),
    *(("metadata", name) for name in _KUBERNETES_METADATA),
}
"""What `kubectl get -o yaml` adds; left alone, so that its output is a valid manifest."""
_KINDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
}
_SENT_ALONG = ("spec.training.code", "spec.training.code.folder")
"""What no pod can see, and `dsj run` makes a ConfigMap of."""
_ROUNDS = 4
"""How often wrong values are taken out to see what the rest says; errors of errors end long before."""

_NOWHERE = object()

Located = tuple[Path, Problem]


def check(document: Document, *, cluster: bool = False) -> tuple[DeepseekJob | None, list[Problem]]:
    """The job, and all that is wrong with it. If something is, then the job lacks it: good for further checks only."""
    if not isinstance(document.value, dict):
        return None, [
            document.locate((), Problem("document", "", f"the document is {_kind_of(document.value)}", "a mapping"))
        ]
    data: dict[str, object] = copy.deepcopy(document.value)
    found: list[Located] = [*_kind(data), *_unknown(data, DeepseekJob, ()), *_empty(data, DeepseekJob, ())]
    for path, problem in found:
        if problem.kind != "document":
            _remove(data, path)
    job, wrong = _validated(data, {path for path, _ in found})
    found += wrong
    if job is not None:
        found += _joined(job, {problem.field for _, problem in found}, data, cluster)
        found += taken_names(job)
        found += broken_inside(job.spec, ("spec",))
    return job, [document.locate(path, problem) for path, problem in found]


def _kind(data: dict[str, object]) -> Iterator[Located]:
    for key, due in (("apiVersion", API_VERSION), ("kind", KIND)):
        if key not in data:
            yield (key,), Problem("required", key, "is missing", due)
        elif isinstance(data[key], str) and data[key] != due:
            yield (key,), Problem("document", key, f"{shown(data[key])} is not known", due, shown(data[key]))


def _unknown(data: dict[str, object], model: type[BaseModel], path: Path) -> Iterator[Located]:
    """Keys that no model has, at any depth, with the name that was probably meant."""
    for key, value in data.items():
        here = (*path, key)
        info = field_of(model, key)
        if info is None:
            if here not in _KUBERNETES_OWN:
                message, right = _meant(key, model)
                yield here, Problem("unknown", spell(here), message, right, shown(value))
            continue
        shape = shape_of_field(info)
        if shape.model is not None and isinstance(value, dict):
            yield from _unknown(value, shape.model, here)
        elif shape.item is not None and shape.item.model is not None and isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, dict):
                    yield from _unknown(item, shape.item.model, (*here, index))


def _meant(key: str, model: type[BaseModel]) -> tuple[str, str]:
    """Message and what would be right, for a key that `model` does not have."""
    siblings = [alias_of(name, info) for name, info in model.model_fields.items()]
    plain = {_plain(name): name for name in siblings}
    near = [plain[_plain(key)]] if _plain(key) in plain else difflib.get_close_matches(key, siblings, 1, 0.6)
    near = near or [spell(place) for place in _places(DeepseekJob, ()) if place[-1] == key]
    if near:
        return f"is not a known field; did you mean {' or '.join(near)}?", ""
    return "is not a known field", f"one of {', '.join(siblings)}"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _places(model: type[BaseModel], path: Path) -> Iterator[Path]:
    for name, info in model.model_fields.items():
        here = (*path, alias_of(name, info))
        yield here
        inner = shape_of_field(info).model
        if inner is not None:
            yield from _places(inner, here)


def _empty(data: dict[str, object], model: type[BaseModel], path: Path) -> Iterator[Located]:
    """Known keys with nothing behind the colon: more likely forgotten than meant."""
    for key, value in data.items():
        info = field_of(model, key)
        if info is None:
            continue
        here, shape = (*path, key), shape_of_field(info)
        if value is None:
            yield (
                here,
                Problem("required", spell(here), "has no value", f"{shape.words()}, or leave the line out", "null"),
            )
        elif shape.model is not None and isinstance(value, dict):
            yield from _empty(value, shape.model, here)


def _validated(data: dict[str, object], told: set[Path]) -> tuple[DeepseekJob | None, list[Located]]:
    """What the models say; wrong values are taken out of `data` until the rest is a job, for the rules to judge."""
    found: list[Located] = []
    for _ in range(_ROUNDS):
        try:
            return DeepseekJob.model_validate(data), found
        except ValidationError as error:
            for details in error.errors(include_url=False):
                path, problem = _told(details)
                if path not in told:
                    found.append((path, problem))
                told.add(path)
                _remove(data, path)
                if details["type"] == "missing":
                    _fill(data, path)
    return None, found


def _told(error: ErrorDetails) -> Located:
    """A finding of pydantic in our words."""
    of_key = error["loc"][-1:] == ("[key]",)
    path: Path = error["loc"][:-1] if of_key else error["loc"]
    shape = shape_at(DeepseekJob, path)
    value, type_, field = error.get("input"), error["type"], spell(path)
    right = shape.words()
    if of_key:
        return path, Problem(
            "type", field, f"the key {shown(value)} does not fit", "a key such as example.com/team", shown(value)
        )
    if type_ == "missing":
        return path, Problem("required", field, "is missing", right)
    if path == ("metadata", "name") and isinstance(value, str):
        return path, _bad_name(value, type_, right)
    if type_ in ("greater_than_equal", "less_than_equal", "finite_number"):
        how = {"greater_than_equal": "too small", "less_than_equal": "too large"}.get(type_, "not finite")
        return path, Problem("range", field, f"{shown(value)} is {how}", right, shown(value))
    if type_ == "literal_error":
        near = difflib.get_close_matches(str(value).lower(), [str(choice) for choice in shape.choices], 1, 0.6)
        meant = f" (did you mean {near[0]}?)" if near and isinstance(value, str) else ""
        return path, Problem("type", field, f"{shown(value)} is not known{meant}", right, shown(value))
    if type_ in ("too_short", "too_long") and isinstance(value, list | dict):
        least, most = shape.length()
        due = right if least == most else f"at least {least} item" if type_ == "too_short" else f"at most {most} items"
        return path, Problem("range", field, f"has {len(value)} item{'' if len(value) == 1 else 's'}", due, "a list")
    if type_ in ("string_too_long", "string_too_short") and isinstance(value, str):
        return path, Problem("range", field, f"{shown(value)} has {len(value)} characters", right, shown(value))
    if type_ == "string_pattern_mismatch":
        return path, Problem("type", field, f"{shown(value)} does not fit", right, shown(value))
    if shape.type is int and isinstance(value, float):
        whole = f" (write {int(value)})" if value.is_integer() else ""
        return path, Problem("type", field, f"{shown(value)} is not a whole number{whole}", right, shown(value))
    return path, Problem("type", field, f"{_called(value)}{_quotes(value, shape.type)}", right, shown(value))


def _bad_name(name: str, type_: str, right: str) -> Problem:
    if type_ == "string_too_long":
        message = (
            f"{shown(name)} has {len(name)} characters: the longest member, {member_name('<job>', LONGEST_MEMBER)}, "
            f"must fit the {MAX_NAME} characters of Kubernetes"
        )
        return Problem("name", "metadata.name", message, f"at most {MAX_JOB_NAME} characters", shown(name))
    return Problem("name", "metadata.name", f"{shown(name)} is no name for Kubernetes", right, shown(name))


def _joined(job: DeepseekJob, broken: set[str], data: dict[str, object], cluster: bool) -> list[Located]:
    """Rules that join fields, unless one of these is already told to be wrong by itself."""
    found: list[Located] = []
    for rule, problem in rules.problems_of(job.spec, cluster=cluster):
        if cluster and rule.fields[0] in _SENT_ALONG:
            continue
        if any(_covers(wrong, field) for wrong in broken for field in rule.fields):
            continue
        path: Path = tuple(rule.fields[0].split("."))
        while not _has(data, path):
            path = path[:-1]
        whole = spell(path) == rule.fields[0]
        found.append((path, replace(problem, value=shown(_at(data, path)) if whole else None)))
    return found


def _covers(wrong: str, field: str) -> bool:
    """Whether a finding about `wrong` makes a rule about `field` idle: the same field, or a mapping around it."""
    return wrong == field or field.startswith(wrong + ".")


def _has(data: object, path: Path) -> bool:
    return _at(data, path) is not _NOWHERE


def _at(data: object, path: Path) -> object:
    for part in path:
        data = data.get(str(part), _NOWHERE) if isinstance(data, dict) else _NOWHERE
    return data


def _remove(data: object, path: Path) -> None:
    """Takes a wrong value out; an item of a list takes the list with it."""
    for part in path[:-1]:
        if not isinstance(data, dict) or part not in data:
            return
        parent, data = data, data[str(part)]
        if isinstance(data, list):
            del parent[str(part)]
            return
    if isinstance(data, dict):
        data.pop(str(path[-1]), None)


def _fill(data: dict[str, object], path: Path) -> None:
    """Puts something harmless where something required is missing, so that the rest can be judged."""
    for part in path[:-1]:
        inner = data.setdefault(str(part), {})
        if not isinstance(inner, dict):
            return
        data = inner
    data[str(path[-1])] = "unnamed" if path[-1] == "name" else {}


def _kind_of(value: object) -> str:
    return "nothing" if value is None else _KINDS.get(type(value), "something else")


def _called(value: object) -> str:
    kind = _kind_of(value)
    return f"is {kind}" if isinstance(value, dict | list) else f"{shown(value)} is {kind}"


def _quotes(value: object, due: object) -> str:
    """The commonest slip has a hint of its own: quotes around a number, or none around text."""
    if due in (int, float) and isinstance(value, str) and re.fullmatch(r"[-+0-9.eE]+", value):
        return " because of its quotes"
    return ": put it in quotes" if due is str and isinstance(value, bool | int | float) else ""
