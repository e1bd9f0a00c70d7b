"""Whose an object is, what it is called, how it is labelled."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepseek_runtime.contract.names import (
    API_VERSION,
    GROUP,
    KIND,
    LABEL_GENERATION,
    LABEL_INCARNATION,
    LABEL_INDEX,
    LABEL_JOB,
    LABEL_PART,
    LABEL_ROLE,
    Member,
    Role,
)

Manifest = dict[str, Any]
MANAGED_BY = {"app.kubernetes.io/managed-by": "deepseek-operator"}


@dataclass(frozen=True, slots=True)
class Owner:
    """The DeepseekJob that everything of a job belongs to, and goes with."""

    name: str
    namespace: str
    uid: str

    def part(self, what: str) -> str:
        """`<job>-<8 digits of its uid>-<what>`: what a job of the same name left behind is never taken for its own."""
        return f"{self.name}-{self.uid[:8]}-{what}"


def keys_secret(job: str, role: Role) -> str:
    """The Secret with what a member of this role proves itself with. (No job may name one: api/section_rules.py.)"""
    return f"{job}-{role}-keys"


def job_labels(owner: Owner) -> dict[str, str]:
    return {LABEL_JOB: owner.name}


def role_labels(owner: Owner, role: Role) -> dict[str, str]:
    """What selects the members of a role."""
    return {**job_labels(owner), LABEL_ROLE: role}


def member_labels(owner: Owner, member: Member, generation: str) -> dict[str, str]:
    return {
        **MANAGED_BY,
        **role_labels(owner, member.role),
        LABEL_INDEX: str(member.index),
        LABEL_INCARNATION: str(member.incarnation),
        LABEL_GENERATION: generation,
    }


def is_ours(label: str) -> bool:
    """Whether nobody else may set this label or annotation."""
    prefix = label.rpartition("/")[0]
    return prefix == GROUP or prefix.endswith("." + GROUP) or label in MANAGED_BY


def metadata(owner: Owner, name: str, labels: Mapping[str, str]) -> Manifest:
    """Owned: the cluster deletes it after its job. (blockOwnerDeletion would need a right on finalizers.)"""
    reference = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {"name": name, "namespace": owner.namespace, "labels": dict(labels), "ownerReferences": [reference]}


def part_metadata(owner: Owner, what: str, part: str) -> Manifest:
    """Of everything that is no pod."""
    return metadata(owner, owner.part(what), {**MANAGED_BY, **job_labels(owner), LABEL_PART: part})
