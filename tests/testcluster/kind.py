"""Where there is Docker and we are not root: the same through kind. (Nothing is killed below the pods there.)"""

import shutil
from typing import Final

import yaml

from testcluster import binaries
from testcluster.commands import run, succeeds
from testcluster.layout import Layout, cache

VERSION: Final = "0.30.0"
IMAGE: Final = "kindest/node:v1.34.0"


def usable() -> bool:
    """Whether a Docker engine answers."""
    return shutil.which("docker") is not None and succeeds("docker", "info", timeout=20)


def answers(layout: Layout) -> bool:
    """Whether the cluster of this number is up."""
    kubectl = layout.programs / "kubectl"
    return layout.kubeconfig.exists() and succeeds(kubectl, f"--kubeconfig={layout.kubeconfig}", "get", "--raw=/readyz")


def up(layout: Layout) -> None:
    """Makes the cluster and its kubeconfig. Raises CommandFailed."""
    programs = binaries.build_missing(print)
    binaries.link(programs, layout.programs)
    nodes = [{"role": "control-plane"}, *({"role": "worker"} for _ in layout.node_names)]
    config = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes}
    run(
        *(_kind(), "create", "cluster", "--name", layout.name, "--image", IMAGE, "--wait", "3m"),
        *("--kubeconfig", layout.kubeconfig, "--config", "-"),
        given=yaml.safe_dump(config),
        timeout=900,
    )


def down(layout: Layout) -> None:
    run(_kind(), "delete", "cluster", "--name", layout.name, "--kubeconfig", layout.kubeconfig, timeout=300)


def _kind() -> str:
    found = shutil.which("kind")
    if found is not None:
        return found
    folder = cache() / f"kind-{VERSION}"
    if not (folder / "kind").exists():
        go = binaries.find_go(print)
        run(go, "install", f"sigs.k8s.io/kind@v{VERSION}", environment={"GOBIN": str(folder)}, timeout=900)
    return str(folder / "kind")
