"""A member's pod: ours where it matters, the user's where api/pods.py lets them."""

import math
from collections.abc import Mapping

from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.pods import Pod, Resources
from deepseek_operator.executors.render.config import FILE
from deepseek_operator.executors.render.folders import CONFIG, KERNELS, TMP, mounts, volumes
from deepseek_operator.executors.render.parts import Manifest, Owner, is_ours, member_labels, metadata
from deepseek_operator.executors.render.place import placement
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.executors.render.storage import SECRETS, Storage
from deepseek_runtime.contract.names import (
    CONTAINER,
    ENV_CONFIG,
    ENV_EXIT_FILE,
    ENV_INCARNATION,
    ENV_INDEX,
    ENV_LOG,
    ENV_LOG_LEVEL,
    ENV_POD_IP,
    ENV_ROLE,
    ENV_SECRETS,
    SERVER_PORT,
    Member,
    Role,
    member_name,
)

EXIT_FILE = "/dev/termination-log"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SUFFIXES = {"m": 1e-3, "": 1.0, "k": 1e3}


def member_pod(
    job: DeepseekJob,
    owner: Owner,
    member: Member,
    settings: Rendering,
    storage: Storage,
    *,
    generation: str,
    config: str,
    code: str | None,
) -> Manifest:
    """config, code: names of ConfigMaps; code None: there is none of the user's own."""
    role = member.role
    part = job.spec.servers if role == "server" else job.spec.workers
    about = metadata(
        owner,
        member_name(owner.name, member),
        {**_others(part.pod.labels), **member_labels(owner, member, generation)},
    )
    if annotations := _others(part.pod.annotations):
        about["annotations"] = annotations
    spec: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.grace_seconds[role],
        "securityContext": _pod_security(settings),
        "volumes": volumes(owner, role, part.pod, storage, settings, config, code),
        "containers": [_container(job, member, part.pod, part.resources, settings, storage, code)],
        **placement(owner, role, part.pod, settings),
    }
    secrets = [{"name": name} for name in settings.pull_secrets]
    secrets += [{"name": one.name} for one in part.pod.image_pull_secrets if one.name not in settings.pull_secrets]
    if secrets:
        spec["imagePullSecrets"] = secrets
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec}


def _container(
    job: DeepseekJob,
    member: Member,
    pod: Pod,
    resources: Resources,
    settings: Rendering,
    storage: Storage,
    code: str | None,
) -> Manifest:
    asked = _resources(member.role, resources, settings)
    container: Manifest = {
        "name": CONTAINER,
        "image": job.spec.image or settings.image,
        "command": ["python", "-m", f"deepseek_runtime.{member.role}"],
        "env": _environment(member, pod, asked, settings),
        "resources": asked,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePath": EXIT_FILE,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts(pod, storage, code),
    }
    if settings.pull_policy:
        container["imagePullPolicy"] = settings.pull_policy
    if storage.environment_secret:
        # What stands in `env` wins, so no key of the user's Secret can stand for one of ours.
        container["envFrom"] = [{"secretRef": {"name": storage.environment_secret}}]
    if member.role == "server":
        container["ports"] = [{"name": "push-pull", "containerPort": SERVER_PORT, "protocol": "TCP"}]
    return container


def _environment(member: Member, pod: Pod, resources: Manifest, settings: Rendering) -> list[Manifest]:
    threads = str(_threads(member.role, resources))
    usual = {**dict.fromkeys(_THREADS, threads), "PYTHONUNBUFFERED": "1"}
    theirs = {variable.name: variable.value for variable in pod.env}
    ours: dict[str, Manifest] = {
        name: {"value": value}
        for name, value in {
            ENV_CONFIG: f"{CONFIG}/{FILE}",
            ENV_SECRETS: SECRETS,
            ENV_ROLE: member.role,
            ENV_INDEX: str(member.index),
            ENV_INCARNATION: str(member.incarnation),
            ENV_EXIT_FILE: EXIT_FILE,
            ENV_LOG: "json",
            ENV_LOG_LEVEL: settings.log_level,
            # Everything that libraries keep goes where this pod may write.
            "HOME": TMP,
            "NUMBA_CACHE_DIR": KERNELS,
            "TRITON_CACHE_DIR": f"{TMP}/triton",
            "TORCHINDUCTOR_CACHE_DIR": f"{TMP}/inductor",
            "XDG_CACHE_HOME": f"{TMP}/cache",
            "MPLCONFIGDIR": f"{TMP}/matplotlib",
        }.items()
    }
    ours[ENV_POD_IP] = {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    free = {name: value for name, value in {**usual, **theirs}.items() if name not in ours and not _is_ours(name)}
    return [{"name": name, "value": value} for name, value in free.items()] + [
        {"name": name, **source} for name, source in ours.items()
    ]


def _is_ours(variable: str) -> bool:
    return variable.startswith("DSJ_")


def _resources(role: Role, given: Resources, settings: Rendering) -> Manifest:
    """The defaults only for what the user says nothing about: a limit alone is its request too."""
    requests = {
        name: amount for name, amount in settings.requests[role].items() if name not in given.limits
    } | given.requests
    found: Manifest = {"requests": dict(requests)} if requests else {}
    if given.limits:
        found["limits"] = dict(given.limits)
    return found


def _threads(role: Role, resources: Manifest) -> int:
    """Libraries would start one thread for each core of the node. A server's own kernels bring their threads."""
    if role == "server":
        return 1
    for kind in ("limits", "requests"):
        if cpu := _cores((resources.get(kind) or {}).get("cpu", "")):
            return max(1, math.ceil(cpu))
    return 1


def _cores(quantity: str) -> float:
    number = quantity.rstrip("mk")
    try:
        return float(number) * _SUFFIXES[quantity[len(number) :]]
    except (ValueError, KeyError):
        return 0.0


def _pod_security(settings: Rendering) -> Manifest:
    """The standard `restricted`. The group owns what volumes hold, so that keys can be read by no other user."""
    context: Manifest = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if settings.run_as is not None:
        user = settings.run_as
        context |= {"runAsUser": user, "runAsGroup": user, "fsGroup": user, "fsGroupChangePolicy": "OnRootMismatch"}
    return context


def _others(given: Mapping[str, str]) -> dict[str, str]:
    """The user's labels or annotations without any that are ours."""
    return {key: value for key, value in given.items() if not is_ours(key)}
