"""Where a job's checkpoints go, and what that asks of its pods. What cannot work is said before any pod starts."""

import json
from dataclasses import dataclass

from deepseek_operator.api.config import checkpoint_uri
from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.pods import Pod
from deepseek_operator.executors.render.parts import Manifest, Owner, part_metadata
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.reconcile.observe import Obstacle
from deepseek_runtime.contract.names import STORAGE_FILE, STORE_CA_FILE
from deepseek_runtime.contract.store import job_folder, password_of, user_of

SECRETS = "/etc/dsj/secrets"
CHECKPOINTS = "/var/lib/dsj/checkpoints"
HOSTNAME = "kubernetes.io/hostname"
STORE_SECRET = "store-worker-keys"
"""An ending that no job may name among its own Secrets (api/section_rules.py)."""
_SHARE = "Use a claim with access mode ReadWriteMany, or an object store in spec.checkpoint.storage.uri"


@dataclass(frozen=True, slots=True)
class Storage:
    """uri: of the job's own folder. volume: a volume without its name, mounted at CHECKPOINTS."""

    uri: str
    volume: Manifest | None = None
    sub_path: str = ""
    environment_secret: str = ""
    """The user's: its keys become variables."""
    options_secret: str = ""
    """Ours: options that must not stand in the config document."""
    options: Manifest | None = None
    """What is in that Secret."""
    authority: str = ""
    """In it too: who signed the store's certificate, in PEM."""


def claim_name(job: DeepseekJob) -> str | None:
    """The PersistentVolumeClaim that `storage_of` must be shown."""
    pvc = job.spec.checkpoint.storage.pvc
    return None if pvc is None else pvc.claim_name


def storage_of(job: DeepseekJob, owner: Owner, settings: Rendering, claim: Manifest | None) -> Storage | Obstacle:
    """claim: what the API server has under `claim_name`; None: nothing."""
    named = job.spec.checkpoint.storage
    if named.pvc is not None:
        obstacle = _judge(job, named.pvc.claim_name, claim)
        if obstacle is not None:
            return obstacle
        volume = {"persistentVolumeClaim": {"claimName": named.pvc.claim_name}}
        return Storage(f"file://{CHECKPOINTS}/{_folder(owner)}", volume, named.pvc.sub_path)
    if named.uri is not None:
        return Storage(checkpoint_uri(job, owner.uid, ""), environment_secret=named.secret or "")
    if settings.store_uri:
        return _own_store(owner, settings)
    return Obstacle(
        "StorageMissing",
        "spec.checkpoint.storage names no storage, and this installation has no store of its own",
        "Name a claim (storage.pvc) or an object store (storage.uri), or install the chart with store.enabled=true",
    )


def options_secret(owner: Owner, storage: Storage) -> Manifest | None:
    """The Secret with what `storage.options` holds; None: none is needed."""
    if not storage.options_secret:
        return None
    secret = part_metadata(owner, STORE_SECRET, "store")
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": secret,
        "type": "Opaque",
        "stringData": {
            STORAGE_FILE: json.dumps(storage.options),
            **({STORE_CA_FILE: storage.authority} if storage.authority else {}),
        },
    }


def _own_store(owner: Owner, settings: Rendering) -> Storage:
    """Each job is a user of its own there, with a folder to itself; it may read those of its namespace's jobs."""
    uri = f"{settings.store_uri.rstrip('/')}/{_folder(owner)}"
    if not settings.store_key:
        return Storage(uri)
    user = user_of(owner.namespace, owner.name, owner.uid)
    options: Manifest = {"auth": [user, password_of(settings.store_key, user)]}
    if settings.store_ca:
        options["verify"] = f"{SECRETS}/{STORE_CA_FILE}"
    return Storage(uri, options_secret=owner.part(STORE_SECRET), options=options, authority=settings.store_ca)


def _folder(owner: Owner) -> str:
    return job_folder(owner.namespace, owner.name, owner.uid)


def _judge(job: DeepseekJob, name: str, claim: Manifest | None) -> Obstacle | None:
    if claim is None:
        return Obstacle(
            "StorageMissing",
            f"there is no PersistentVolumeClaim {name} in the namespace {job.namespace}",
            f"Create it (kubectl get pvc -n {job.namespace} lists what is there), or name another in "
            "spec.checkpoint.storage.pvc",
        )
    if (claim.get("status") or {}).get("phase") == "Lost":
        return Obstacle(
            "StorageMissing",
            f"the volume of the PersistentVolumeClaim {name} is gone (its phase is Lost)",
            "Restore the volume, or name another claim in spec.checkpoint.storage.pvc",
        )
    # What a bound volume can do stands in its status; what was asked for is all that an unbound one says.
    modes = set((claim.get("status") or {}).get("accessModes") or (claim.get("spec") or {}).get("accessModes") or [])
    if "ReadWriteMany" in modes:
        return None
    said = ", ".join(sorted(modes)) or "none"
    if not modes & {"ReadWriteOnce", "ReadWriteOncePod"}:
        return Obstacle(
            "StorageNotShared",
            f"the PersistentVolumeClaim {name} cannot be written (access modes: {said})",
            _SHARE,
        )
    if "ReadWriteOnce" not in modes:
        return Obstacle(
            "StorageNotShared",
            f"the PersistentVolumeClaim {name} is for a single pod (access modes: {said}), and all members need it",
            _SHARE,
        )
    if _one_node(job):
        return None
    return Obstacle(
        "StorageNotShared",
        f"the PersistentVolumeClaim {name} can be mounted on one node at a time (access modes: {said}), and the job's "
        "members may run on several",
        f"{_SHARE}; or keep all members on one node: {HOSTNAME} in nodeSelector of spec.servers.pod and "
        "spec.workers.pod",
    )


def _one_node(job: DeepseekJob) -> bool:
    """Whether servers and workers are bound to one and the same node."""
    nodes = [_node(job.spec.servers.pod), _node(job.spec.workers.pod)]
    return nodes[0] is not None and nodes[0] == nodes[1]


def _node(pod: Pod) -> str | None:
    chosen = pod.node_selector.get(HOSTNAME)
    if chosen or pod.affinity is None or pod.affinity.node_affinity is None:
        return chosen or None
    required = pod.affinity.node_affinity.required_during_scheduling_ignored_during_execution
    terms = required.node_selector_terms if required is not None else []
    named = [
        {e.values[0] for e in term.match_expressions if (e.key, e.operator, len(e.values)) == (HOSTNAME, "In", 1)}
        for term in terms
    ]
    every = set().union(*named)
    return every.pop() if len(every) == 1 and all(named) else None
