"""Where a job's folder is in a storage that jobs share, and who may come into the chart's own store.

The operator and the store derive the same password, so neither keeps any.
"""

import hashlib
import hmac


def job_folder(namespace: str, job: str, uid: str) -> str:
    """In every storage: one folder a job, which a later job of the same name does not share."""
    return f"{namespace}/{job}/{uid}"


def user_of(namespace: str, job: str, uid: str) -> str:
    """A job as a user of the chart's store. Neither a namespace nor a uid has dots, so it can be taken apart again."""
    return f"{namespace}.{job}.{uid}"


def password_of(key: bytes, user: str) -> str:
    """HMAC-SHA256 in hex. key: the installation's, known to the operator and the store."""
    return hmac.new(key, user.encode(), hashlib.sha256).hexdigest()
