"""What may change in a running job: freely, by replacing its members, or not at all."""

from dataclasses import dataclass
from typing import Literal

from deepseek_operator.api.config import contract_training
from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.problems import shown

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
    return (
        f"a running job cannot change {changes}: start a job of another name, with spec.checkpoint.restoreFrom if it "
        "should begin from this one's weights"
    )


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
