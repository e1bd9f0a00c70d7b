"""Rules inside one mapping, wherever it stands: in Python for `dsj validate`, beside it in CEL for the API server."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from deepseek_operator.api.affinity import LabelExpression, NodeExpression
from deepseek_operator.api.describe import alias_of
from deepseek_operator.api.job import Claim, Servers, Storage
from deepseek_operator.api.pods import EnvVar, Pod, Toleration
from deepseek_operator.api.problems import Kind, Path, Problem, shown, spell
from deepseek_operator.api.training import Compression, CompressionRule, Guard
from deepseek_operator.api.validation import Validation, text
from deepseek_operator.api.volumes import SecretVolume, Volume, VolumeMount

ENV_PREFIX = "DSJ_"
VOLUME_PREFIX = "dsj-"
KEY_SECRETS = ("-server-keys", "-worker-keys")
"""How the Secrets end that the operator makes for a job (`<job>-server-keys`): no job may read another's."""
SYSTEM_PRIORITY = "system-"
"""How the PriorityClasses begin by which the cluster's own pods push others off a node."""
LABEL_NAME, OWN_NAME = "app.kubernetes.io/name", "deepseek-operator"
"""By which the chart's Services, unless its values name it anew, find their pods (executors/render/reserved.py)."""
OWN_FOLDERS = ("/etc/dsj", "/var/lib/dsj", "/tmp", "/proc", "/sys", "/dev")
"""Where the operator mounts its own, and what a container needs as it is. /dev/shm is free."""


@dataclass(frozen=True, slots=True)
class SectionRule:
    """`broken(section)` of an instance of `section`; `cel` is true of `self`, the same mapping, when it is kept."""

    section: type[BaseModel]
    field: str
    """Inside the mapping, as the YAML spells it: what the message is about."""
    broken: Callable[[Any], bool]
    message: str
    right: str
    cel: str
    """Empty: the schema says it by itself, as of lists whose items have a key."""
    kind: Kind = "combination"

    def validation(self) -> Validation:
        reason = "FieldValueRequired" if self.kind == "required" else "FieldValueForbidden"
        return Validation(self.cel, f"{self.message}; right: {self.right}", self.field, reason)  # type: ignore[arg-type]


def broken_inside(model: BaseModel, path: Path = ()) -> Iterator[tuple[Path, Problem]]:
    """Every rule that a mapping, or one inside it, breaks: where, and what."""
    for rule in SECTION_RULES:
        if type(model) is rule.section and rule.broken(model):
            here = (*path, rule.field) if rule.field else path
            yield here, Problem(rule.kind, spell(here), rule.message, rule.right, _given(model, rule.field))
    for name, info in type(model).model_fields.items():
        value, here = getattr(model, name), (*path, alias_of(name, info))
        if isinstance(value, BaseModel):
            yield from broken_inside(value, here)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, BaseModel):
                    yield from broken_inside(item, (*here, index))


def _given(model: BaseModel, field: str) -> str | None:
    value = model.model_dump(by_alias=True).get(field)
    return None if value is None else shown(value)


def _own_secret(name: str) -> bool:
    return name.endswith(KEY_SECRETS)


def _no_own_secret(name: str) -> str:
    return " && ".join(f'!{name}.endsWith("{ending}")' for ending in KEY_SECRETS)


def _is_own_folder(path: str) -> bool:
    if path == "/dev/shm":
        return False
    return any(path == own or path.startswith(own + "/") for own in OWN_FOLDERS)


def _climbs(path: str) -> bool:
    return path.startswith("/") or ".." in path.split("/")


_INSIDE = '!has(self.subPath) || (!self.subPath.startsWith("/") && !self.subPath.split("/").exists(part, part == ".."))'
_NO_CLIMBING = "leaves the volume"
_FOLDER = "a folder inside the volume, such as jobs/digits"
_SECRET = "is the operator's own: keys of a job"
_ANOTHER_SECRET = f"a Secret whose name ends in none of {', '.join(KEY_SECRETS)}"
_FOLDERS = ", ".join(text(folder) for folder in OWN_FOLDERS)
_NO_OWN_FOLDER = (
    'self.mountPath == "/dev/shm" || '
    f'![{_FOLDERS}].exists(own, self.mountPath == own || self.mountPath.startsWith(own + "/"))'
)


def _twice(names: Sequence[str]) -> bool:
    return len(set(names)) < len(names)


def _unique(field: str, key: str, names: Callable[[Pod], Sequence[str]]) -> SectionRule:
    return SectionRule(
        Pod,
        field,
        lambda p: _twice(names(p)),
        f"has two items of one {key}",
        f"one item for each {key}",
        "",
        "duplicate",
    )


def _expression(section: type[NodeExpression | LabelExpression]) -> tuple[SectionRule, ...]:
    return (
        SectionRule(
            section,
            "values",
            lambda e: e.operator in ("In", "NotIn") and not e.values,
            "is empty, and In and NotIn compare with something",
            "at least one value, or operator: Exists",
            'self.operator in ["In", "NotIn"] ? has(self.values) && size(self.values) > 0 : true',
            "required",
        ),
        SectionRule(
            section,
            "values",
            lambda e: e.operator in ("Exists", "DoesNotExist") and bool(e.values),
            "has no meaning with Exists and DoesNotExist, which ask for the key alone",
            "no values, or operator: In",
            'self.operator in ["Exists", "DoesNotExist"] ? !has(self.values) || size(self.values) == 0 : true',
        ),
    )


QUANTISED_BITS = (1, 4, 8, 16)


def _bits(section: type[BaseModel]) -> SectionRule:
    return SectionRule(
        section,
        "valueBits",
        lambda c: c.method == "quantised" and c.value_bits not in (None, *QUANTISED_BITS),
        "is none that method quantised has",
        "1, 4, 8 or 16, or method: topk",
        'self.method != "quantised" || !has(self.valueBits) || self.valueBits in [1, 4, 8, 16]',
    )


def _of_method(name: str, attribute: str, methods: tuple[str, ...]) -> SectionRule:
    """A field of a compression rule that only these methods read."""
    return SectionRule(
        CompressionRule,
        name,
        lambda c: c.method not in methods and getattr(c, attribute) is not None,
        "has no meaning with the rule's method",
        f"leave it out, or method: {' or '.join(methods)}",
        f"!has(self.{name}) || " + " || ".join(f'self.method == "{method}"' for method in methods),
    )


SECTION_RULES: tuple[SectionRule, ...] = (
    SectionRule(
        Guard,
        "rollBackAfter",
        lambda g: g.roll_back_after < g.slow_after,
        "is less than slowAfter: the job would go back before smaller steps were tried",
        "at least slowAfter, or maxRollBacks: 0 for no roll-back",
        "self.rollBackAfter >= self.slowAfter",
    ),
    _bits(Compression),
    _bits(CompressionRule),
    _of_method("ratio", "ratio", ("topk",)),
    _of_method("valueBits", "value_bits", ("topk", "quantised")),
    _of_method("rank", "rank", ("lowrank",)),
    SectionRule(
        EnvVar,
        "name",
        lambda v: v.name.startswith(ENV_PREFIX),
        "is the operator's own",
        f"a name without {ENV_PREFIX}",
        f'!self.name.startsWith("{ENV_PREFIX}")',
    ),
    SectionRule(
        Volume,
        "name",
        lambda v: v.name.startswith(VOLUME_PREFIX),
        "is the operator's own",
        f"a name without {VOLUME_PREFIX}",
        f'!self.name.startsWith("{VOLUME_PREFIX}")',
    ),
    SectionRule(
        Volume,
        "",
        lambda v: v.kinds != 1,
        "is not of exactly one kind",
        "one of configMap, secret, emptyDir and persistentVolumeClaim",
        "[has(self.configMap), has(self.secret), has(self.emptyDir), has(self.persistentVolumeClaim)]"
        ".filter(given, given).size() == 1",
        "exclusive",
    ),
    SectionRule(
        Pod,
        "priorityClassName",
        lambda p: (p.priority_class_name or "").startswith(SYSTEM_PRIORITY),
        "is the cluster's own: its pods push all others off a node",
        f"a PriorityClass without {SYSTEM_PRIORITY}",
        f'!has(self.priorityClassName) || !self.priorityClassName.startsWith("{SYSTEM_PRIORITY}")',
    ),
    SectionRule(
        Pod,
        "labels",
        lambda p: p.labels.get(LABEL_NAME) == OWN_NAME,
        f"{LABEL_NAME}: {OWN_NAME} is by what the operator's own Services find their pods",
        f"another {LABEL_NAME}",
        f'!has(self.labels) || !("{LABEL_NAME}" in self.labels) || self.labels["{LABEL_NAME}"] != "{OWN_NAME}"',
    ),
    _unique("env", "name", lambda p: [variable.name for variable in p.env]),
    _unique("volumes", "name", lambda p: [volume.name for volume in p.volumes]),
    _unique("volumeMounts", "mountPath", lambda p: [mount.mount_path for mount in p.volume_mounts]),
    SectionRule(
        Pod,
        "volumeMounts",
        lambda p: not {mount.name for mount in p.volume_mounts} <= {volume.name for volume in p.volumes},
        "names a volume that is not among volumes",
        "the name of one of volumes, or that volume",
        "!has(self.volumeMounts) || "
        "self.volumeMounts.all(mount, has(self.volumes) && self.volumes.exists(volume, volume.name == mount.name))",
    ),
    SectionRule(
        VolumeMount,
        "mountPath",
        lambda m: _is_own_folder(m.mount_path),
        f"lies in a folder that the members need as it is: {', '.join(OWN_FOLDERS)}",
        "another folder, such as /data (/dev/shm is free)",
        _NO_OWN_FOLDER,
    ),
    SectionRule(
        VolumeMount,
        "mountPath",
        lambda m: ".." in m.mount_path.split("/"),
        "climbs",
        "an absolute path without '..', such as /data",
        '!self.mountPath.split("/").exists(part, part == "..")',
        "type",
    ),
    SectionRule(VolumeMount, "subPath", lambda m: _climbs(m.sub_path), _NO_CLIMBING, _FOLDER, _INSIDE, "type"),
    SectionRule(Claim, "subPath", lambda c: _climbs(c.sub_path), _NO_CLIMBING, _FOLDER, _INSIDE, "type"),
    SectionRule(
        SecretVolume, "secretName", lambda s: _own_secret(s.secret_name), _SECRET, _ANOTHER_SECRET,
        _no_own_secret("self.secretName"),
    ),
    SectionRule(
        Storage, "secret", lambda s: _own_secret(s.secret or ""), _SECRET, _ANOTHER_SECRET,
        f"!has(self.secret) || ({_no_own_secret('self.secret')})",
    ),
    SectionRule(
        Toleration,
        "value",
        lambda t: t.operator == "Exists" and bool(t.value),
        "has no meaning with operator Exists, which asks for the key alone",
        "no value, or operator: Equal",
        '!has(self.operator) || self.operator != "Exists" || !has(self.value) || self.value == ""',
    ),
    SectionRule(
        Toleration,
        "operator",
        lambda t: not t.key and t.operator == "Equal",
        "Equal compares with the value of a key, and there is none",
        "a key, or operator: Exists for every taint",
        '(has(self.key) && self.key != "") || (has(self.operator) && self.operator == "Exists")',
    ),
    SectionRule(
        Toleration,
        "tolerationSeconds",
        lambda t: t.toleration_seconds is not None and t.effect != "NoExecute",
        "has no meaning but with effect NoExecute",
        "effect: NoExecute, or no tolerationSeconds",
        '!has(self.tolerationSeconds) || (has(self.effect) && self.effect == "NoExecute")',
    ),
    SectionRule(
        Servers,
        "backup",
        lambda s: s.backup and s.replicas < 2,
        "needs a second server, which holds what the first one has",
        "replicas: 2 or more, or backup: false",
        "!self.backup || self.replicas >= 2",
    ),
    *_expression(NodeExpression),
    *_expression(LabelExpression),
    SectionRule(
        NodeExpression,
        "values",
        lambda e: e.operator in ("Gt", "Lt") and not (len(e.values) == 1 and re.fullmatch("[0-9]+", e.values[0])),
        "is not one whole number, which Gt and Lt compare with",
        'one whole number in quotes, such as ["8"]',
        'self.operator in ["Gt", "Lt"] ? '
        'has(self.values) && size(self.values) == 1 && self.values[0].matches("^[0-9]+$") : true',
    ),
)  # fmt: skip
