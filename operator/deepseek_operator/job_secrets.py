"""The two Secrets of a job: what its servers, and what its workers, prove themselves with.

CURVE keys change only when all members do, so a Secret that is there is left as it is.
"""

import base64
import logging

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from deepseek_operator.executors.inputs import is_owned
from deepseek_operator.executors.render.parts import MANAGED_BY, Owner, job_labels, keys_secret, metadata
from deepseek_operator.kube import SECRETS, Api, Conflict, Exists, Object
from deepseek_runtime.contract.names import ROLES, Role

logger = logging.getLogger(__name__)

_Z85 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def curve_pair() -> tuple[bytes, bytes]:
    """A fresh pair (public, secret) as ZeroMQ writes it: X25519 in Z85. The operator's image has no ZeroMQ."""
    key = X25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    secret = key.private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    return z85(public), z85(secret)


def z85(data: bytes) -> bytes:
    """ZeroMQ RFC 32; the length is a multiple of 4."""
    text = bytearray()
    for at in range(0, len(data), 4):
        number = int.from_bytes(data[at : at + 4], "big")
        text += bytes(_Z85[number // 85**power % 85] for power in (4, 3, 2, 1, 0))
    return bytes(text)


def job_keys() -> dict[Role, dict[str, bytes]]:
    """What each role finds in its folder of keys (transport/curve.py): both public keys, and its own secret."""
    pairs = {role: curve_pair() for role in ROLES}
    public = {f"{role}.public": pair[0] + b"\n" for role, pair in pairs.items()}
    return {role: {**public, f"{role}.secret": pair[1] + b"\n"} for role, pair in pairs.items()}


def ensure_secrets(api: Api, owner: Owner) -> None:
    """Both are there afterwards, of one making. Raises ApiError (Conflict: a job of that name before this one left its
    Secret, which is about to go)."""
    found = {role: api.get(SECRETS, owner.namespace, keys_secret(owner.name, role)) for role in ROLES}
    for held in found.values():
        if held is not None and not is_owned(held, owner):
            raise Conflict(f"the Secret {held['metadata']['name']} is not this job's: it is waited for, or delete it")
    if all(held is not None for held in found.values()):
        return
    keys = job_keys()
    for held in found.values():
        if held is not None:  # half of an earlier making: no member has begun
            name, uid = held["metadata"]["name"], held["metadata"]["uid"]
            api.delete(SECRETS, owner.namespace, name, uid=uid)
    for role in ROLES:
        _create(api, owner, keys_secret(owner.name, role), keys[role])


def _create(api: Api, owner: Owner, name: str, data: dict[str, bytes]) -> None:
    manifest: Object = {
        "apiVersion": SECRETS.api_version,
        "kind": SECRETS.kind,
        "metadata": metadata(owner, name, {**MANAGED_BY, **job_labels(owner)}),
        "type": "Opaque",
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }
    try:
        api.create(SECRETS, owner.namespace, manifest)
    except Exists as error:
        raise Conflict(f"the Secret {name} was made by somebody else at the same time") from error
    logger.info("made the Secret %s", name)
