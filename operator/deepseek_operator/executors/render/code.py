"""The user's code: read from a ConfigMap of theirs, kept in an immutable one of ours.

A replaced member runs the same code as the rest, whatever happens to the user's ConfigMap meanwhile; a change of that
is a new generation of intent.
"""

import base64
import binascii

from deepseek_operator.api.user_code import UserCode
from deepseek_operator.executors.render.parts import Manifest, Owner, part_metadata
from deepseek_operator.reconcile.observe import Obstacle

PART = "code"


def read_code(config_map: Manifest) -> UserCode | Obstacle:
    """One file a key."""
    name = config_map["metadata"]["name"]
    files = {key: text.encode() for key, text in (config_map.get("data") or {}).items()}
    try:
        for key, text in (config_map.get("binaryData") or {}).items():
            files[key] = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return Obstacle("CodeMissing", f"binaryData of the ConfigMap {name} is not base64", "Create it anew")
    if not files:
        return Obstacle(
            "CodeMissing",
            f"the ConfigMap {name} holds no file",
            f"Create it from your code: kubectl create configmap {name} --from-file=FOLDER",
        )
    return UserCode(files)


def code_missing(name: str, namespace: str) -> Obstacle:
    return Obstacle(
        "CodeMissing",
        f"there is no ConfigMap {name} in the namespace {namespace}, which spec.training.code.configMap names",
        f"Create it from your code: kubectl create configmap {name} -n {namespace} --from-file=FOLDER",
    )


def code_name(owner: Owner, code: UserCode) -> str:
    return owner.part(f"{PART}-{code.digest[:16]}")


def code_map(owner: Owner, code: UserCode) -> Manifest:
    """Text as text, so that people can read it; what is none as binaryData."""
    data: dict[str, str] = {}
    binary: dict[str, str] = {}
    for key, content in sorted(code.files.items()):
        try:
            data[key] = content.decode("utf-8")
        except UnicodeDecodeError:
            binary[key] = base64.b64encode(content).decode()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": part_metadata(owner, f"{PART}-{code.digest[:16]}", PART),
        "immutable": True,
        **({"data": data} if data else {}),
        **({"binaryData": binary} if binary else {}),
    }
