"""Secrets, claims and labels that no job may name, whoever its author is: pods are made with the operator's rights.

The API server refuses those whose names tell (api/section_rules.py); here are those that it takes knowledge to know.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.executors.render.parts import Owner
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.reconcile.observe import Obstacle

_TYPES: Final = {
    "kubernetes.io/service-account-token": "a service account's token",
    "bootstrap.kubernetes.io/token": "a token by which nodes join the cluster",
    "helm.sh/release.v1": "a release of helm",
}
"""Types of Secrets that are somebody's rights."""


@dataclass(frozen=True, slots=True)
class Named:
    """An object of the job's namespace that the spec names. read: whether the job's members see what is in it."""

    kind: Literal["Secret", "PersistentVolumeClaim"]
    name: str
    field: str
    read: bool = True

    def __str__(self) -> str:
        return f"{self.field} names the {self.kind} {self.name}"


def named(job: DeepseekJob) -> Iterator[Named]:
    storage = job.spec.checkpoint.storage
    if storage.secret:
        yield Named("Secret", storage.secret, "spec.checkpoint.storage.secret")
    if storage.pvc is not None:
        yield Named("PersistentVolumeClaim", storage.pvc.claim_name, "spec.checkpoint.storage.pvc.claimName")
    for role, pod in (("servers", job.spec.servers.pod), ("workers", job.spec.workers.pod)):
        for index, volume in enumerate(pod.volumes):
            field = f"spec.{role}.pod.volumes[{index}]"
            if volume.secret is not None:
                yield Named("Secret", volume.secret.secret_name, f"{field}.secret.secretName")
            if volume.persistent_volume_claim is not None:
                claim = volume.persistent_volume_claim.claim_name
                yield Named("PersistentVolumeClaim", claim, f"{field}.persistentVolumeClaim.claimName")
        for index, one in enumerate(pod.image_pull_secrets):
            yield Named("Secret", one.name, f"spec.{role}.pod.imagePullSecrets[{index}].name", read=False)


def secrets_read(job: DeepseekJob) -> list[str]:
    """Names of Secrets of which `refused` must be told the type."""
    return sorted({one.name for one in named(job) if one.kind == "Secret" and one.read})


def refused(job: DeepseekJob, owner: Owner, settings: Rendering, types: Mapping[str, str | None]) -> Obstacle | None:
    """types: of each of `secrets_read`; None: there is no such Secret."""
    if owner.namespace == settings.namespace and (obstacle := _posing(job, settings.own_labels)):
        return obstacle
    for one in named(job):
        ours = settings.own_secrets if one.kind == "Secret" else settings.own_claims
        if owner.namespace == settings.namespace and one.name in ours:
            return Obstacle(
                "NotForJobs",
                f"{one}, which is the operator's own and no job's",
                f"Name another {one.kind}, or none; and run jobs in another namespace than the operator's",
            )
        if one.kind != "Secret" or not one.read:
            continue
        kind = types.get(one.name)
        if kind is None:
            # Whoever waits for a Secret gets what appears under its name, of whatever type.
            return Obstacle(
                "SecretMissing",
                f"{one}, and there is none in the namespace {owner.namespace}",
                f"Create it (kubectl create secret generic {one.name} -n {owner.namespace} ...), or name another",
            )
        if kind in _TYPES:
            return Obstacle(
                "NotForJobs",
                f"{one}, which holds {_TYPES[kind]}",
                "Name another Secret, or none: members of jobs have no rights of their own in the cluster",
            )
    return None


def _posing(job: DeepseekJob, own: Mapping[str, str]) -> Obstacle | None:
    """Members that the installation's Services would take for its own get what is sent to its etcd and store."""
    for role, pod in (("servers", job.spec.servers.pod), ("workers", job.spec.workers.pod)):
        if own and own.items() <= pod.labels.items():
            shown = ", ".join(f"{key}: {value}" for key, value in own.items())
            return Obstacle(
                "NotForJobs",
                f"spec.{role}.pod.labels has all labels by which the operator's own Services find their pods ({shown})",
                "Set other values for one of them, or none; and run jobs in another namespace than the operator's",
            )
    return None
