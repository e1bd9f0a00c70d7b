"""Names, addresses and folders of a cluster: all follow from its number, so that whoever comes later finds them."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
MOST_NODES: Final = 50
DOMAIN: Final = "cluster.local"


@dataclass(frozen=True)
class Layout:
    """Cluster `number` (0 to 40) with `nodes` nodes. One /16: 10.200.0.0 for cluster 0, 10.201.0.0 for 1, and so on."""

    number: int = 0
    nodes: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.number <= 40:
            raise ValueError(f"a cluster's number is from 0 to 40, not {self.number}")
        if not 1 <= self.nodes <= MOST_NODES:
            raise ValueError(f"a cluster has 1 to {MOST_NODES} nodes, not {self.nodes}")

    @property
    def name(self) -> str:
        """Of its bridge, its cgroup, and first part of the name of each network namespace."""
        return f"dsjtest{self.number}"

    @property
    def folder(self) -> Path:
        return ROOT / "build" / (f"cluster-{self.number}" if self.number else "cluster")

    @property
    def logs(self) -> Path:
        return self.folder / "log"

    @property
    def certificates(self) -> Path:
        return self.folder / "certificates"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def programs(self) -> Path:
        """Links to kubectl and helm, for PATH."""
        return self.folder / "bin"

    @property
    def volumes(self) -> Path:
        """What PersistentVolumes lie in; the same folder on every node."""
        return self.folder / "volumes"

    @property
    def audit_log(self) -> Path:
        return self.logs / "audit.log"

    def node_data(self, node: str) -> Path:
        """What survives the node's death: its disk."""
        return self.folder / "nodes" / node

    def _address(self, third: int, fourth: int) -> str:
        return f"10.{200 + self.number}.{third}.{fourth}"

    @cached_property
    def gateway(self) -> str:
        """The bridge's own address, on which the control plane listens."""
        return self._address(0, 1)

    @property
    def server(self) -> str:
        return f"https://{self.gateway}:6443"

    @property
    def dns(self) -> str:
        return self.gateway

    @property
    def services(self) -> str:
        return self._address(16, 0) + "/20"

    @property
    def kubernetes_service(self) -> str:
        """The first address of the services' range: the API server's own Service."""
        return self._address(16, 1)

    @property
    def all_pods(self) -> str:
        return self._address(128, 0) + "/17"

    @cached_property
    def node_names(self) -> tuple[str, ...]:
        return tuple(f"node{index}" for index in range(1, self.nodes + 1))

    def node_address(self, node: str) -> str:
        return self._address(0, 10 + _index(node))

    def node_pods(self, node: str) -> str:
        return self._address(128 + _index(node), 0) + "/24"

    def namespace(self, node: str) -> str:
        """The node's network namespace."""
        return f"{self.name}-{node}"

    def link(self, node: str) -> str:
        """The host's end of the node's cable (a name of at most 15 letters)."""
        return f"{self.name}n{_index(node)}"


def _index(node: str) -> int:
    return int(node.removeprefix("node"))


def cache() -> Path:
    """Where what was built is kept, for all checkouts of this person."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "deepseek-operator" / "cluster"
