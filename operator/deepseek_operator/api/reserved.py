"""Names inside free mappings that are the operator's own, or that what reads them could not take."""

import keyword
import re
from collections.abc import Iterator

from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.pods import Pod
from deepseek_operator.api.problems import Path, Problem, shown, spell
from deepseek_operator.api.validation import Validation
from deepseek_runtime.contract.names import GROUP

_UNSAFE = (
    "container.apparmor.security.beta.kubernetes.io",
    "container.seccomp.security.alpha.kubernetes.io",
    "seccomp.security.alpha.kubernetes.io",
)
"""Annotations that once switched a container's protection off; some nodes still read them."""
TAKEN = {"labels": (GROUP,), "annotations": (GROUP, *_UNSAFE)}
"""Prefixes of keys by field of a pod."""
_PREFIX = "another prefix"


def pod_validations() -> Iterator[Validation]:
    """The same of a pod's labels and annotations for the API server. Which arguments there are, CEL cannot see."""
    for field, prefixes in TAKEN.items():
        for prefix in prefixes:
            rule = f'!has(self.{field}) || self.{field}.all(key, !key.startsWith("{prefix}/"))'
            yield Validation(rule, f"{prefix}/ {_why(prefix)}; right: {_PREFIX}", field)


def _why(prefix: str) -> str:
    return "is the operator's own" if prefix == GROUP else "is not for users to set: it protects the node"


def taken_names(job: DeepseekJob) -> Iterator[tuple[Path, Problem]]:
    """Findings with their paths; none for a job that is right."""
    yield from _pod(job.spec.servers.pod, ("spec", "servers", "pod"))
    yield from _pod(job.spec.workers.pod, ("spec", "workers", "pod"))
    yield from unusable_arguments(job)


def unusable_arguments(job: DeepseekJob) -> Iterator[tuple[Path, Problem]]:
    """Of `training.args`, which CEL cannot see: names that no keyword argument, or no option of a script, can have."""
    training = job.spec.training
    for key in training.args:
        path: Path = ("spec", "training", "args", key)
        if training.task is not None and (not key.isidentifier() or keyword.iskeyword(key)):
            right = f"a Python name, such as {re.sub(r'[^0-9A-Za-z]+', '_', key).strip('_') or 'width'}"
            yield path, Problem("type", spell(path), f"{shown(key)} cannot be a keyword argument", right, shown(key))
        elif training.task is None and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", key):
            yield (
                path,
                Problem(
                    "type", spell(path), f"{shown(key)} cannot be an option", "letters, digits, '-', '_'", shown(key)
                ),
            )


def _pod(pod: Pod, where: Path) -> Iterator[tuple[Path, Problem]]:
    for name, keys in (("labels", pod.labels), ("annotations", pod.annotations)):
        for key in keys:
            prefix = key.split("/")[0]
            if "/" in key and prefix in TAKEN[name]:
                path = (*where, name, key)
                yield path, Problem("combination", spell(path), _why(prefix), _PREFIX, shown(key))
