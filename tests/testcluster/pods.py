"""Pods of the probe image, as tests make them: small, and as the strictest Pod Security level wants them."""

from collections.abc import Mapping
from typing import Any

from testcluster.archives import PROBE


def pod(
    name: str, *arguments: str, node: str = "", labels: Mapping[str, str] | None = None, lost_after: int | None = None
) -> dict[str, Any]:
    """A pod that runs `probe ARGUMENTS`, on `node` if that is given; `lost_after`: seconds for which it stays bound to
    a node that nobody hears of (default: Kubernetes' 300)."""
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "probe",
                "image": PROBE,
                "args": list(arguments),
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    }
    if node:
        # Not `nodeName`, which would go past the scheduler.
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    if lost_after is not None:
        spec["tolerations"] = [
            {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute"}
            | {"tolerationSeconds": lost_after}
            for taint in ("unreachable", "not-ready")
        ]
    metadata = {"name": name, "labels": dict(labels or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
