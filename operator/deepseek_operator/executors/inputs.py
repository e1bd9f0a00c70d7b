"""What a job is made from: itself, what it names in its namespace (code, claim, Secrets), the installation's settings.

found = look(api, job, owner)                                  # reads
inputs = inputs_of(job, owner, settings, found, generation)    # pure; generation: intent_hash(job, found.digest)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.user_code import UserCode
from deepseek_operator.executors.render.code import PART, code_missing, read_code
from deepseek_operator.executors.render.config import cluster_config
from deepseek_operator.executors.render.parts import Manifest, Owner, job_labels
from deepseek_operator.executors.render.reserved import refused, secrets_read
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.executors.render.storage import Storage, claim_name, storage_of
from deepseek_operator.kube import CONFIG_MAPS, PVCS, SECRETS, Api
from deepseek_operator.reconcile.observe import Obstacle
from deepseek_runtime.contract.config import JobConfig, Timing
from deepseek_runtime.contract.names import LABEL_PART


@dataclass(frozen=True, slots=True)
class Found:
    """What a job names, as it is now."""

    code: UserCode | None = None
    claim: Manifest | None = None
    obstacle: Obstacle | None = None
    """Of the code: it is named and not there."""
    secrets: Mapping[str, str | None] = field(default_factory=dict)
    """Types of the Secrets that members would read; None: there is no such Secret."""

    @property
    def digest(self) -> str:
        return "" if self.code is None else self.code.digest


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a ClusterExecutor makes objects from. With an obstacle nothing can be made, and storage may be None."""

    job: DeepseekJob
    owner: Owner
    settings: Rendering
    generation: str
    code: UserCode | None = None
    storage: Storage | None = None
    config: JobConfig | None = None
    obstacle: Obstacle | None = None


def look(api: Api, job: DeepseekJob, owner: Owner) -> Found:
    """Reads; raises ApiError. A job whose code was there before goes on with the copy of its own."""
    claim = claim_name(job)
    volume = api.get(PVCS, owner.namespace, claim) if claim is not None else None
    types = {name: _type(api.get(SECRETS, owner.namespace, name)) for name in secrets_read(job)}
    named = job.spec.training.code
    if named is None or named.config_map is None:
        return Found(claim=volume, secrets=types)
    given = api.get(CONFIG_MAPS, owner.namespace, named.config_map)
    code = read_code(given) if given is not None else _copy(api, owner)
    if code is None:
        code = code_missing(named.config_map, owner.namespace)
    if isinstance(code, Obstacle):
        return Found(claim=volume, obstacle=code, secrets=types)
    return Found(code, volume, secrets=types)


def _type(secret: Manifest | None) -> str | None:
    return None if secret is None else str(secret.get("type") or "Opaque")


def inputs_of(
    job: DeepseekJob,
    owner: Owner,
    settings: Rendering,
    found: Found,
    generation: str,
    *,
    timing: Timing | None = None,
) -> Inputs:
    obstacle = refused(job, owner, settings, found.secrets) or found.obstacle or _image_missing(job, settings)
    bare = Inputs(job, owner, settings, generation, found.code, obstacle=obstacle)
    storage = storage_of(job, owner, settings, found.claim)
    if isinstance(storage, Obstacle):
        return Inputs(job, owner, settings, generation, found.code, obstacle=bare.obstacle or storage)
    config = cluster_config(
        job, owner, settings, storage, generation=generation, code=found.code is not None, timing=timing
    )
    return Inputs(job, owner, settings, generation, found.code, storage, config, bare.obstacle)


def _image_missing(job: DeepseekJob, settings: Rendering) -> Obstacle | None:
    if job.spec.image or settings.image:
        return None
    return Obstacle("ImageMissing", "no image is named, and this installation has no usual one", "Set spec.image")


def _copy(api: Api, owner: Owner) -> UserCode | Obstacle | None:
    labels = ",".join(f"{key}={value}" for key, value in {**job_labels(owner), LABEL_PART: PART}.items())
    copies = [item for item in api.list(CONFIG_MAPS, owner.namespace, labels) if is_owned(item, owner)]
    newest = max(copies, key=lambda item: str(item["metadata"].get("creationTimestamp", "")), default=None)
    return None if newest is None else read_code(newest)


def is_owned(item: Manifest, owner: Owner) -> bool:
    return any(reference.get("uid") == owner.uid for reference in item["metadata"].get("ownerReferences") or [])
