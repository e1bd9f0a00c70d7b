"""Where a member may run: what the user asks for, servers apart from one another, and nowhere for long that is lost."""

from typing import Any

from deepseek_operator.api.affinity import Affinity
from deepseek_operator.api.pods import Pod
from deepseek_operator.executors.render.parts import Manifest, Owner, role_labels
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.executors.render.storage import HOSTNAME
from deepseek_runtime.contract.names import Role

LOST = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def placement(owner: Owner, role: Role, pod: Pod, settings: Rendering) -> Manifest:
    found: Manifest = {"tolerations": tolerations(pod, settings)}
    if pod.node_selector:
        found["nodeSelector"] = dict(pod.node_selector)
    if pod.affinity is not None:
        affinity = _affinity(pod.affinity)
        if affinity:
            found["affinity"] = affinity
    if role == "server":
        found["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": HOSTNAME,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": role_labels(owner, role)},
            }
        ]
    if pod.priority_class_name:
        found["priorityClassName"] = pod.priority_class_name
    return found


def tolerations(pod: Pod, settings: Rendering) -> list[Manifest]:
    """The user's, and a short one for each taint of a lost node that the user's say nothing about."""
    theirs = []
    for given in pod.tolerations:
        one = given.model_dump(by_alias=True, exclude_none=True)
        theirs.append({name: value for name, value in one.items() if value != ""})
    ours = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": settings.node_lost_seconds}
        for key in LOST
        if not any(t.key in ("", key) and t.effect in ("", "NoExecute") for t in pod.tolerations)
    ]
    return theirs + ours


def _affinity(affinity: Affinity) -> Manifest:
    return _without_empty(affinity.model_dump(by_alias=True, exclude_none=True))


def _without_empty(value: dict[str, Any]) -> Manifest:
    """Lists and mappings that say nothing are left out; of a list's items nothing is, they stand for themselves."""
    found: Manifest = {}
    for name, item in value.items():
        if isinstance(item, dict):
            item = item if name == "labelSelector" else _without_empty(item)
        if item not in ({}, []):
            found[name] = item
    return found
