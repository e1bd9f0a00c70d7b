"""How many servers of a job may be evicted at once: one. A budget that would block a drain is not made at all."""

from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.executors.render.parts import Manifest, Owner, part_metadata, role_labels


def server_budget(job: DeepseekJob, owner: Owner) -> Manifest | None:
    """None: with one server a budget could only block. Workers need none: each that leaves is replaced by itself.

    minAvailable, not maxUnavailable: for that Kubernetes counts the replicas of the pods' controller by its scale
    subresource, and a DeepseekJob's counts workers.
    """
    servers = job.spec.servers.replicas
    if servers < 2:
        return None
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": part_metadata(owner, "servers", "budget"),
        "spec": {
            "minAvailable": servers - 1,
            "selector": {"matchLabels": role_labels(owner, "server")},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
