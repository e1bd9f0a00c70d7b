"""What may change in a running job: freely, by replacing its members, or not at all."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from deepseek_operator.api.config import contract_training
from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.problems import shown
from deepseek_operator.api.validation import Validation, filled

ChangeKind = Literal["none", "free", "roll", "refused"]

_FREE = (
    "spec.suspend",
    "spec.servers.replicas",
    "spec.workers.replicas",
    "spec.workers.min",
    "spec.workers.max",
    "spec.training.evaluation",
    "spec.checkpoint",
    "spec.runPolicy",
)
_MOUNTED = ("spec.checkpoint.storage.pvc", "spec.checkpoint.storage.secret")
"""What a pod has for its whole life, free as the rest of spec.checkpoint is."""
_REFUSED = (
    "metadata.name",
    "metadata.namespace",
    "spec.training.seed",
    "spec.training.batchSize",
    "spec.training.update.mode",
    "spec.training.update.localSteps",
    "spec.training.task",
    "spec.training.script",
    "spec.training.compression.method",
)


_ANEW = "start a job of another name, with spec.checkpoint.restoreFrom if it should begin from this one's weights"


@dataclass(frozen=True, slots=True)
class Change:
    """The difference between two versions of a job. kind: the gravest of its fields."""

    kind: ChangeKind
    fields: tuple[str, ...] = ()
    """Those of that kind, as the YAML spells them."""
    message: str = ""
    """kind refused: what was tried and what to do, for people."""


def change_kind(old: DeepseekJob, new: DeepseekJob, old_code: str = "", new_code: str = "") -> Change:
    """Judges a change; old_code and new_code are the code's digests. A default given in full is no change."""
    before, after = _flat(old) | {"spec.training.code": old_code}, _flat(new) | {"spec.training.code": new_code}
    fields: dict[ChangeKind, list[str]] = {"refused": [], "roll": [], "free": []}
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            fields[_kind_of(name, before.get(name), after.get(name))].append(name)
    for kind in ("refused", "roll", "free"):
        if fields[kind]:
            message = _refusal(fields[kind], before, after) if kind == "refused" else ""
            return Change(kind, tuple(fields[kind]), message)
    return Change("none")


def _kind_of(name: str, before: object, after: object) -> Literal["free", "roll", "refused"]:
    if name in ("spec.training.steps", "spec.training.epochs"):
        return "free" if isinstance(before, int) and isinstance(after, int) and after > before else "refused"
    if _is_under(name, _REFUSED):
        return "refused"
    return "free" if _is_under(name, _FREE) and not _is_under(name, _MOUNTED) else "roll"


def _is_under(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith((prefix + ".", prefix + "[")) for prefix in prefixes)


def _refusal(fields: list[str], before: dict[str, object], after: dict[str, object]) -> str:
    changes = ", ".join(f"{name} from {shown(before.get(name))} to {shown(after.get(name))}" for name in fields)
    return f"a running job cannot change {changes}: {_ANEW}"


def transitions() -> Iterator[Validation]:
    """What is refused, for the API server, of the spec. Names never change there, and code it does not see."""
    for name, kind in (("seed", "%d"), ("batchSize", "%d"), ("update.mode", '"%s"'), ("compression.method", '"%s"')):
        yield _kept(name, kind, f"{{0}}.training.{name}")
    given = "{0}.training.update.localSteps"
    default = '({0}.training.update.mode == "gradient" ? 1 : 8)'
    yield _kept("update.localSteps", "%d", f"(has({given}) ? {given} : {default})")
    for name in ("task", "script"):
        value = f"{{0}}.training.{name}"
        shown = f'(has({value}) ? "\\"" + {value} + "\\"" : "null")'
        yield _kept(name, "%s", shown, _SAME.format(f"training.{name}"))
    for name in ("steps", "epochs"):
        more = f"({_BOTH} && self.{{0}} >= oldSelf.{{0}}) || {_NEITHER}".format(f"training.{name}")
        yield _kept(name, "%s", _or_null(f"{{0}}.training.{name}"), more)


_BOTH = "has(self.{0}) && has(oldSelf.{0})"
_NEITHER = "(!has(self.{0}) && !has(oldSelf.{0}))"
_SAME = f"({_BOTH} && self.{{0}} == oldSelf.{{0}}) || {_NEITHER}"


def _or_null(value: str) -> str:
    return f'(has({value}) ? dyn({value}) : dyn("null"))'


def _kept(field: str, kind: str, value: str, rule: str = "") -> Validation:
    """value: CEL, of {0}: the old or the new spec; kind: how it is shown; rule: empty for equal values."""
    before, after = value.format("oldSelf"), value.format("self")
    message = filled(f"a running job cannot change spec.training.{field} from {kind} to {kind}: {_ANEW}", before, after)
    fixed = f"a running job cannot change it: {_ANEW}"
    return Validation(rule or f"{before} == {after}", fixed, f"training.{field}", expression=message)


def _flat(job: DeepseekJob) -> dict[str, object]:
    """Leaves by path, as the YAML spells them, with the defaults that depend on other fields filled in."""
    data = job.model_dump(mode="json", by_alias=True, include={"metadata": {"name", "namespace"}, "spec": True})
    training = contract_training(job.spec.training).model_dump(mode="json")
    data["spec"]["training"] = {_camel(name): value for name, value in training.items() if name != "code"}
    result: dict[str, object] = {}
    _leaves(data, "", result)
    return result


def _leaves(value: object, path: str, result: dict[str, object]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            inside_args = path.startswith("spec.training.args")
            name = key if inside_args or not path.startswith("spec.training") else _camel(key)
            _leaves(item, f"{path}.{name}" if path else name, result)
    else:
        result[path] = value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)
