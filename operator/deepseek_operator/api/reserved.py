"""Names inside free mappings that are the operator's own, or that what reads them could not take."""

import keyword
import re
from collections.abc import Iterator

from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.pods import Pod
from deepseek_operator.api.problems import Path, Problem, shown, spell
from deepseek_runtime.contract.names import GROUP

ENV_PREFIX = "DSJ_"


def taken_names(job: DeepseekJob) -> Iterator[tuple[Path, Problem]]:
    """Findings with their paths; none for a job that is right."""
    yield from _pod(job.spec.servers.pod, ("spec", "servers", "pod"))
    yield from _pod(job.spec.workers.pod, ("spec", "workers", "pod"))
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
            if key.split("/")[0] == GROUP:
                path = (*where, name, key)
                yield path, Problem("combination", spell(path), "is the operator's own", "another prefix", shown(key))
    for index, variable in enumerate(pod.env):
        if variable.name.startswith(ENV_PREFIX):
            path = (*where, "env", index, "name")
            message = f"{shown(variable.name)} is the operator's own"
            yield (
                path,
                Problem("combination", spell(path), message, f"a name without {ENV_PREFIX}", shown(variable.name)),
            )
