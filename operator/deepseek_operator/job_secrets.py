"""The two Secrets of a job: what its servers, and what its workers, prove themselves with.

CURVE keys change only when all members do, so a Secret that is there is left as it is, and none is made while somebody
has the keys of one that is lost (reconcile/policies/rollout.py says what becomes of the members). A certificate for
etcd is renewed in place: members read it anew when they connect.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from deepseek_operator.certificates import Authority, CertificateError, renewal_due, years
from deepseek_operator.executors.inputs import is_owned
from deepseek_operator.executors.render.parts import MANAGED_BY, Owner, job_labels, keys_secret, metadata
from deepseek_operator.kube import SECRETS, Api, Conflict, Exists, Object
from deepseek_operator.kube.secret_data import decoded, encoded
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


@dataclass(frozen=True, slots=True)
class OwnCertificates:
    """Each job gets certificates of its own, by which etcd takes its members for the job's uid."""

    authority: Authority

    def issue(self, owner: Owner) -> Mapping[str, bytes]:
        pair = self.authority.client(owner.uid, years(1))
        return {"ca.crt": self.authority.certificate, "tls.crt": pair.certificate, "tls.key": pair.key}

    def good(self, held: Mapping[str, bytes]) -> bool:
        """Whether it is of this authority, and good for long enough."""
        try:
            due = renewal_due(held.get("tls.crt", b""), datetime.now(UTC))
        except CertificateError:
            return False
        return not due and "tls.key" in held and held.get("ca.crt") == self.authority.certificate


@dataclass(frozen=True, slots=True)
class SharedCertificate:
    """All jobs get the one that the operator was given, for it cannot sign any. read: ca.crt, tls.crt, tls.key now."""

    read: Callable[[], tuple[bytes, bytes, bytes]]

    def issue(self, owner: Owner) -> Mapping[str, bytes]:
        return dict(zip(("ca.crt", "tls.crt", "tls.key"), self.read(), strict=True))

    def good(self, held: Mapping[str, bytes]) -> bool:
        return (held.get("ca.crt"), held.get("tls.crt"), held.get("tls.key")) == self.read()


Certificates = OwnCertificates | SharedCertificate


def ensure_secrets(api: Api, owner: Owner, certificates: Certificates | None = None, *, held: bool) -> str | None:
    """Fingerprint of the public keys in both Secrets, of which certificates that do not last are renewed.

    held: somebody has keys of this job, so none are made: None, if they are not there as they were made. Otherwise both
    Secrets are there afterwards, of one making. certificates: for etcd; None: it asks for none.
    Raises ApiError (Conflict: a job of that name before this one left its Secret, which is about to go).
    """
    found = _found(api, owner)
    for one in found.values():
        if one is not None and not is_owned(one, owner):
            raise Conflict(f"the Secret {one['metadata']['name']} is not this job's: it is waited for, or delete it")
    there = fingerprint({role: None if one is None else decoded(one) for role, one in found.items()})
    if there is not None or held:
        _renew_all(api, owner, found, certificates)
        return there
    keys = job_keys()
    for one in found.values():
        if one is not None:  # half of a making
            name, uid = one["metadata"]["name"], one["metadata"]["uid"]
            api.delete(SECRETS, owner.namespace, name, uid=uid)
    for role in ROLES:
        certificate = certificates.issue(owner) if certificates is not None else {}
        _create(api, owner, keys_secret(owner.name, role), {**keys[role], **certificate})
    return fingerprint(keys)


def fingerprint(keys: Mapping[Role, Mapping[str, bytes] | None]) -> str | None:
    """16 hex digits over the public keys; None: a Secret or a key of one is missing, or the two are not of one making.

    keys: what each role's Secret holds; None: there is none.
    """
    public = [f"{role}.public" for role in ROLES]
    known = {tuple((held or {}).get(name, b"") for name in public) for held in keys.values()}
    if len(known) != 1 or any(not (keys[role] or {}).get(f"{role}.secret") for role in ROLES):
        return None
    (pair,) = known
    return hashlib.sha256(b"".join(pair)).hexdigest()[:16] if all(pair) else None


def _found(api: Api, owner: Owner) -> dict[Role, Object | None]:
    return {role: api.get(SECRETS, owner.namespace, keys_secret(owner.name, role)) for role in ROLES}


def _renew_all(api: Api, owner: Owner, found: Mapping[Role, Object | None], certificates: Certificates | None) -> None:
    if certificates is None:
        return
    for held in found.values():
        if held is not None and is_owned(held, owner) and not certificates.good(decoded(held)):
            _renew(api, owner, held, certificates.issue(owner))


def _renew(api: Api, owner: Owner, held: Object, certificate: Mapping[str, bytes]) -> None:
    name = held["metadata"]["name"]
    precondition = {"uid": held["metadata"]["uid"], "resourceVersion": held["metadata"]["resourceVersion"]}
    api.merge(SECRETS, owner.namespace, name, {"metadata": precondition, "data": encoded(certificate)})
    logger.info("renewed the certificate in the Secret %s", name)


def _create(api: Api, owner: Owner, name: str, data: dict[str, bytes]) -> None:
    manifest: Object = {
        "apiVersion": SECRETS.api_version,
        "kind": SECRETS.kind,
        "metadata": metadata(owner, name, {**MANAGED_BY, **job_labels(owner)}),
        "type": "Opaque",
        "data": encoded(data),
    }
    try:
        api.create(SECRETS, owner.namespace, manifest)
    except Exists as error:
        raise Conflict(f"the Secret {name} was made by somebody else at the same time") from error
    logger.info("made the Secret %s", name)
