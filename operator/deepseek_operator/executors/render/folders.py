"""What a member sees under which path (api/section_rules.py keeps the user's volumes out of these), and where from."""

from deepseek_operator.api.pods import Pod
from deepseek_operator.api.volumes import Volume
from deepseek_operator.executors.render.parts import Manifest, Owner, keys_secret
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.executors.render.storage import CHECKPOINTS, SECRETS, Storage
from deepseek_runtime.contract.names import Role

CONFIG = "/etc/dsj/config"
CODE = "/etc/dsj/code"
DATA = "/var/lib/dsj/data"
TMP = "/tmp"
KERNELS = f"{TMP}/numba"
"""Where numba caches; the image's own kernels are copied there (compression/jit.py)."""
READ_ONLY = 0o440


def volumes(
    owner: Owner, role: Role, pod: Pod, storage: Storage, settings: Rendering, config: str, code: str | None
) -> list[Manifest]:
    """config, code: names of ConfigMaps."""
    found: list[Manifest] = [
        {"name": "dsj-config", "configMap": {"name": config, "defaultMode": 0o444}},
        {"name": "dsj-secrets", "projected": {"defaultMode": READ_ONLY, "sources": _secrets(owner, role, storage)}},
        {"name": "dsj-data", "emptyDir": {"sizeLimit": settings.data_size}},
        {"name": "dsj-tmp", "emptyDir": {"sizeLimit": settings.tmp_size}},
    ]
    if code is not None:
        found.append({"name": "dsj-code", "configMap": {"name": code, "defaultMode": 0o444}})
    if storage.volume is not None:
        found.append({"name": "dsj-checkpoints", **storage.volume})
    return found + [_volume(volume) for volume in pod.volumes if not volume.name.startswith("dsj-")]


def mounts(pod: Pod, storage: Storage, code: str | None) -> list[Manifest]:
    found: list[Manifest] = [
        {"name": "dsj-config", "mountPath": CONFIG, "readOnly": True},
        {"name": "dsj-secrets", "mountPath": SECRETS, "readOnly": True},
        {"name": "dsj-data", "mountPath": DATA},
        {"name": "dsj-tmp", "mountPath": TMP},
    ]
    if code is not None:
        found.append({"name": "dsj-code", "mountPath": CODE, "readOnly": True})
    if storage.volume is not None:
        sub_path = {"subPath": storage.sub_path} if storage.sub_path else {}
        found.append({"name": "dsj-checkpoints", "mountPath": CHECKPOINTS, **sub_path})
    ours = tuple(mount["mountPath"] for mount in found)
    for mount in pod.volume_mounts:
        if mount.name.startswith("dsj-") or any(f"{mount.mount_path}/".startswith(f"{own}/") for own in ours):
            continue
        sub_path = {"subPath": mount.sub_path} if mount.sub_path else {}
        read_only = {"readOnly": True} if mount.read_only else {}
        found.append({"name": mount.name, "mountPath": mount.mount_path, **sub_path, **read_only})
    return found


def _secrets(owner: Owner, role: Role, storage: Storage) -> list[Manifest]:
    sources: list[Manifest] = [{"secret": {"name": keys_secret(owner.name, role)}}]
    if storage.options_secret:
        sources.append({"secret": {"name": storage.options_secret}})
    return sources


def _volume(volume: Volume) -> Manifest:
    """One of the kinds that give no rights on a node; no other has a field in the models."""
    if volume.config_map is not None:
        return {"name": volume.name, "configMap": {"name": volume.config_map.name}}
    if volume.secret is not None:
        return {"name": volume.name, "secret": {"secretName": volume.secret.secret_name}}
    if volume.persistent_volume_claim is not None:
        claim = volume.persistent_volume_claim
        return {
            "name": volume.name,
            "persistentVolumeClaim": {"claimName": claim.claim_name, "readOnly": claim.read_only},
        }
    empty = volume.empty_dir
    kind: Manifest = {}
    if empty is not None and empty.medium:
        kind["medium"] = empty.medium
    if empty is not None and empty.size_limit:
        kind["sizeLimit"] = empty.size_limit
    return {"name": volume.name, "emptyDir": kind}
