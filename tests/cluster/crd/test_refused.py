"""Bad manifests: each is refused by `kubectl apply`, which says the field and what would be right.

The tables are those of `dsj validate`. Rules are told by both in the same words; what a schema says by itself (types,
bounds, choices, unknown fields) the API server tells in its own.
"""

import pytest

from builders.bad_manifests import COMBINATIONS, INSIDE, MISTAKES, ONLY_IN_A_CLUSTER
from builders.kubectl import Kubectl
from builders.manifests import RIGHT

SAID = {
    "quoted number": "spec.training.batchSize in body must be of type integer",
    "text for a number": "spec.training.batchSize in body must be of type integer",
    "fraction for a whole number": "spec.training.batchSize in body must be of type integer",
    "yes for a number": "spec.training.seed in body must be of type integer",
    "number for text": "cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string",
    "list for a mapping": "spec.training.staleness in body must be of type object",
    "mapping for a list": 'unknown field "spec.workers.pod.env.OMP_NUM_THREADS"',
    "not a choice": 'spec.training.optimizer.schedule: Unsupported value: "Cosine": supported values: "constant", ',
    "not a choice of numbers": 'spec.training.compression.valueBits: Unsupported value: 5: supported values: "1", "2"',
    "no task": 'spec.training.task: Invalid value: "string": "deepseek_runtime.tasks.digits" does not fit; '
    "right: module:Class, such as deepseek_runtime.tasks.digits:Digits",
    "quantity": "spec.workers.resources.limits.memory in body should match '^[0-9]+",
    "key of a label": "spec.workers.pod.labels: Invalid value: \"object\": a key does not fit; "
    "right: a key such as example.com/team",
    "too small": "spec.servers.replicas in body should be greater than or equal to 1",
    "too large": "spec.training.compression.ratio: Invalid value: \"number\": is out of bounds; "
    "right: a number from 0.000244140625 to 1",
    "steps beyond all bounds": "spec.training.steps in body should be less than or equal to 1000000000000",
    "beyond 64 bits": "spec.training.seed in body must be of type integer",
    "NaN": "unsupported value: NaN",
    "infinity": "spec.training.optimizer.clipNorm in body must be of type number",
    "length of a list": "spec.training.optimizer.betas in body should have at least 2 items",
    "item of a list": 'spec.training.optimizer.betas[1]: Invalid value: "number": is out of bounds; '
    "right: a number from 0 to 0.999999",
    "snake case": 'unknown field "spec.training.batch_size"',
    "slip of the keyboard": 'unknown field "spec.training.optimiser"',
    "right name, wrong place": 'unknown field "spec.batchSize"',
    "of another system": 'unknown field "spec.checkpoint.zeroStage"',
    "in a list": 'unknown field "spec.servers.pod.env[0].nam"',
    "no training": "spec.training: Required value",
    "too long": "metadata.name: Invalid value: \"object\": is too long for the names of members, "
    "<job>-worker-1023-99999, which end at 63 characters; right: at most 45 characters",
    "not DNS": 'metadata.name: Invalid value: "object": is no name for the labels of members; '
    "right: small letters, digits and '-', with a letter or digit at both ends",
    "two colons": "line 9: mapping values are not allowed",
    "tab": "line 9: found a tab character",
    "open bracket": "line 9: did not find expected ',' or '}'",
    "anchor in itself": "anchor 'a' value contains itself",
    "another version": 'no matches for kind "DeepseekJob" in version "deepseek.dev/v1"',
    "kind misspelt": 'no matches for kind "DeepSeekJob"',
    "no job": "apiVersion not set",
    "empty": "no objects passed to apply",
    "no mapping": "invalid object to validate",
    "memory": "spec.checkpoint.storage.uri: Forbidden: names no store that every pod can read and write; right: a URI",
    "read only": "spec.checkpoint.restoreFrom: Forbidden: names no store that every pod can read and write; right: ",
    "a job as a store": "spec.checkpoint.storage.uri: Forbidden: names no store that every pod can read and write; ",
    "a job of elsewhere": "spec.checkpoint.restoreFrom: Forbidden: names no store that every pod can read and write; ",
    "two slashes": "spec.checkpoint.storage.uri: Forbidden: names no store that every pod can read and write; right: ",
}  # fmt: skip
"""What kubectl says to a mistake that a schema, or reading YAML, finds: its field and what would be right."""
NOT_SEEN = {
    "exponent for a whole number": "1e3 is a whole number to JSON",
    "key that is no text": "kubectl makes text of every key",
    "argument that is no name": "CEL sees no mapping of free content; the operator says it: InvalidSpec",
    "half a character": "kubectl replaces it",
    "no value": "the API server puts the default in the place of null",
    "no name": "below: the manifest of the table names another namespace",
    "given twice": "kubectl takes the last of two keys before the API server sees them",
    "two jobs": "two jobs are what was asked for",
    "unknown scheme": "which schemes there are is the image's affair",
}
"""Mistakes of one machine's file that are none to kubectl, and why: `dsj validate` tells them."""

MISTAKEN = [pytest.param(name, text, id=name) for cases in MISTAKES.values() for name, text, _ in cases]
RULED = [
    pytest.param(text, message, id=name)
    for table in (COMBINATIONS, INSIDE)
    for kind, cases in table.items()
    for name, text, message in cases
    if kind != "duplicate"
]
TWICE = [pytest.param(text, message, id=name) for name, text, message in INSIDE["duplicate"]]


def words(said: str) -> str:
    """Of `field: Forbidden: message` the field and the message, as `dsj validate` joins them."""
    for reason in ("Forbidden", "Required value", 'Invalid value: "object"', 'Invalid value: "string"'):
        said = said.replace(f": {reason}: ", ": ")
    return said


@pytest.mark.parametrize("name,text", MISTAKEN)
def test_a_mistake_is_refused_with_its_field(kubectl: Kubectl, name: str, text: str) -> None:
    said = kubectl.judged(text)
    if name in NOT_SEEN:
        assert name not in SAID
        return
    assert SAID[name] in said


@pytest.mark.parametrize("text,message", RULED)
def test_a_rule_is_told_as_validate_tells_it(kubectl: Kubectl, text: str, message: str) -> None:
    said = kubectl.judged(text)
    _, field, rest = message.split(": ", 2)
    if '["' in field:  # of a mapping's keys the API server names the mapping
        assert field.partition('["')[0] + ": " in words(said) and rest in said, said
    else:
        assert f"{field}: {rest}" in words(said), said


@pytest.mark.parametrize("text,message", TWICE)
def test_what_is_given_twice_is_named(kubectl: Kubectl, text: str, message: str) -> None:
    assert f"{message.split(': ')[1]}[1]: Duplicate value: " in kubectl.judged(text)


@pytest.mark.parametrize(
    "text,message", [pytest.param(text, message, id=id) for id, text, message in ONLY_IN_A_CLUSTER]
)
def test_what_only_one_machine_can_do_is_refused_with_the_remedy(kubectl: Kubectl, text: str, message: str) -> None:
    said = kubectl.judged(text)
    assert message in words(said), said


def test_a_job_without_a_name_is_refused(kubectl: Kubectl) -> None:
    assert "resource name may not be empty" in kubectl.judged(RIGHT.replace("  name: digits", "  labels: {a: b}"))
