"""The definition applied to an API server; what kubectl says to a manifest."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.kubectl import Kubectl
from testcluster.cluster import Cluster

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def kubectl(request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """DSJ_TEST_KUBECONFIG names another API server than the test cluster's, with its kubectl on PATH."""
    namespace = f"crd-{uuid.uuid4().hex[:8]}"
    given = os.environ.get("DSJ_TEST_KUBECONFIG")
    if given:
        found = Kubectl("kubectl", given, namespace)
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        found = Kubectl(str(cluster.programs / "kubectl"), str(cluster.layout.kubeconfig), namespace)
    found.done("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds" / "deepseekjobs.yaml"))
    found.done("wait", "--for=condition=Established", "crd/deepseekjobs.deepseek.dev", "--timeout=30s")
    found.done("create", "namespace", namespace)
    yield found
    found.done("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def stored(kubectl: Kubectl) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Applies a job, suspended lest an operator starts it; it is deleted afterwards."""
    names: list[str] = []

    def store(manifest: str) -> dict[str, Any]:
        data = yaml.safe_load(manifest)
        data["spec"]["suspend"] = True
        names.append(data["metadata"]["name"])
        kubectl.done("apply", "-f", "-", given=yaml.safe_dump(data))
        return kubectl.job(names[-1])

    yield store
    for name in names:
        kubectl.done("delete", "deepseekjob", name, "--ignore-not-found", "--timeout=30s")
