"""A real Kubernetes for the tests of this folder: the one of `make cluster-up`, or one of their own."""

import os
import uuid
from collections.abc import Iterator
from typing import Final

import pytest

from builders.releases import Release, load_images, make_namespace
from testcluster import needs
from testcluster.cluster import Cluster, found_or_started
from testcluster.layout import Layout

QUICK: Final = 10
"""Seconds of silence after which a node is lost, where the tests start the cluster: they need not wait for 50."""


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One for all tests. It is left as it is found: up if it was up."""
    reason = needs.why_not()
    if reason is not None and needs.installable():
        pytest.fail(f"{reason}; or use make test-cluster")
    if reason is not None:
        pytest.skip(reason)
    with found_or_started(Layout(int(os.environ.get("CLUSTER", "0"))), grace=QUICK) as (there, _):
        # A test that was interrupted may have left one dead.
        for node in there.nodes.values():
            if not node.running():
                node.start()
        there.await_nodes()
        yield there


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own, in which only pods of the strictest Pod Security level may run."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    make_namespace(cluster, name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def loaded(cluster: Cluster) -> Cluster:
    """The cluster, with images of this checkout on its nodes."""
    load_images(cluster)
    return cluster


@pytest.fixture(scope="session")
def release(loaded: Cluster) -> Iterator[Release]:
    """The chart, installed from this checkout with images of it, for the jobs of one namespace."""
    found = Release(loaded, f"release-{uuid.uuid4().hex[:8]}")
    try:
        found.install()
        yield found
    finally:
        found.remove()
