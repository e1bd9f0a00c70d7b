"""The chart's own store: who may come in. The operator and the store derive the same password, so neither keeps any."""

import hashlib
import hmac


def password_of(key: bytes, user: str) -> str:
    """HMAC-SHA256 in hex. key: the installation's, known to the operator and the store; user: a job's uid."""
    return hmac.new(key, user.encode(), hashlib.sha256).hexdigest()
