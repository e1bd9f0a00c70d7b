"""What a Secret holds, as bytes; in JSON it is base64."""

import base64
import binascii
from collections.abc import Mapping

from deepseek_operator.kube.api import Object


def decoded(secret: Object) -> dict[str, bytes]:
    """By key; what is no base64 is left out."""
    data: dict[str, bytes] = {}
    for key, value in (secret.get("data") or {}).items():
        try:
            data[key] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            continue
    return data


def encoded(data: Mapping[str, bytes]) -> dict[str, str]:
    """For the field `data` of a manifest."""
    return {key: base64.b64encode(value).decode() for key, value in data.items()}
