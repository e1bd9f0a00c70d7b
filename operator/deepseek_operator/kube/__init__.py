"""The Kubernetes API as this operator and its command line use it: synchronous, plain dicts.

connection.py    which cluster, as whom
api.py           Api: get, list, create, apply, replace, delete
resources.py     the kinds that we touch
secret_data.py   what a Secret holds
errors.py        what may go wrong
rate.py          a bound on requests
"""

from deepseek_operator.kube.api import Api, Object, unfenced
from deepseek_operator.kube.connection import NoCluster, current_namespace, find_cluster
from deepseek_operator.kube.errors import (
    ApiError,
    Conflict,
    Exists,
    Forbidden,
    Invalid,
    NotFound,
    NotLeading,
    Unreachable,
)
from deepseek_operator.kube.rate import Rate
from deepseek_operator.kube.resources import (
    CONFIG_MAPS,
    EVENTS,
    JOBS,
    LEASES,
    NETWORK_POLICIES,
    NODES,
    PDBS,
    PODS,
    PVCS,
    SECRETS,
    STORAGE_CLASSES,
    Resource,
)

__all__ = [
    "CONFIG_MAPS",
    "EVENTS",
    "JOBS",
    "LEASES",
    "NETWORK_POLICIES",
    "NODES",
    "PDBS",
    "PODS",
    "PVCS",
    "SECRETS",
    "STORAGE_CLASSES",
    "Api",
    "ApiError",
    "Conflict",
    "Exists",
    "Forbidden",
    "Invalid",
    "NoCluster",
    "NotFound",
    "NotLeading",
    "Object",
    "Rate",
    "Resource",
    "Unreachable",
    "current_namespace",
    "find_cluster",
    "unfenced",
]
