"""What an installation says about the pods of all its jobs: the chart's values, through the operator's settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from deepseek_runtime.contract.names import Role

USER = 65532
"""Of our images."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """image: of jobs that name none; etcd: host:port each."""

    image: str = ""
    install: str = "default"
    namespace: str = ""
    """The operator's own; there its Secrets and claims are, which no job may name."""
    own_secrets: tuple[str, ...] = ()
    own_claims: tuple[str, ...] = ()
    own_labels: Mapping[str, str] = field(default_factory=dict)
    """What all pods of the installation have in common: its Services, policies and budgets select by it."""
    etcd: tuple[str, ...] = ()
    etcd_tls: bool = False
    """Whether members have certificates for etcd beside their keys."""
    store_uri: str = ""
    """Where checkpoints of jobs go that name no storage; empty: nowhere."""
    store_key: bytes = field(default=b"", repr=False)
    """What the passwords of the chart's own store are derived from; empty: `store_uri` asks for none."""
    store_ca: str = ""
    """Who signed its certificate, in PEM; empty: somebody whom everybody trusts, or it has none."""
    pull_policy: str = ""
    pull_secrets: tuple[str, ...] = ()
    run_as: int | None = USER
    """User and group of members; None: as the image or the namespace says (OpenShift)."""
    node_lost_seconds: int = 15
    """How long a pod stays bound to a node that says nothing (Kubernetes' own default is 300)."""
    network_policies: bool = True
    open_ports: tuple[int, ...] = (80, 443)
    """To which members may talk anywhere, beside DNS, etcd and the storage: object stores, data sets."""
    requests: Mapping[Role, Mapping[str, str]] = field(
        default_factory=lambda: {
            "server": {"cpu": "100m", "memory": "256Mi"},
            "worker": {"cpu": "250m", "memory": "512Mi"},
        }
    )
    """What a member asks of its node where the job says nothing of that resource."""
    grace_seconds: Mapping[Role, int] = field(default_factory=lambda: {"server": 30, "worker": 60})
    """Between the request to leave and the kill: a worker ends its range and pushes its residual first."""
    data_size: str = "2Gi"
    tmp_size: str = "8Gi"
    log_level: str = "INFO"
