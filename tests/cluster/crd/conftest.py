"""The definition applied to an API server; what kubectl says to a manifest."""

import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from builders.definition import establish
from builders.kubectl import Kubectl
from testcluster.cluster import Cluster


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
    establish(found.done)
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
