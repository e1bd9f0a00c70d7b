"""Three members of etcd, on three nodes: one of them is killed, then a node with one and with members of the job."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from builders.releases import Job, Release, step_of
from testcluster.cluster import Cluster
from testcluster.volumes import storage_class, volume

HOME = "node1"
"""Of the store: its checkpoints are on an emptyDir, which is lost with its node."""

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def three(loaded: Cluster) -> Iterator[Release]:
    if len(loaded.nodes) < 3:
        pytest.skip("three members of etcd on three nodes need make cluster-up NODES=3 first")
    release = Release(loaded, f"three-{uuid.uuid4().hex[:8]}")
    name = release.namespace
    disks = [volume(loaded.layout, f"{name}-{index}", "ReadWriteOnce", of_class=name) for index in range(3)]
    loaded.apply(storage_class(name), *disks)
    try:
        persistence = {"size": "1Gi", "storageClassName": name}
        etcd = {**release.values()["etcd"], "replicas": 3, "persistence": persistence}
        release.install({"etcd": etcd, "store": {"nodeSelector": {"kubernetes.io/hostname": HOME}}})
        yield release
    finally:
        release.remove()
        loaded.kubectl("delete", "persistentvolume", *(f"{name}-{index}" for index in range(3)), "--wait=false")
        loaded.kubectl("delete", "storageclass", name)


def test_a_job_outlives_a_member_of_etcd_and_a_node_with_one(three: Release) -> None:
    there = three.cluster
    assert len(set(etcds(three).values())) == 3, etcds(three)
    job = three.submit("digits", lambda spec: spec["training"].update(steps=25_000))
    at = trained(job, 500)

    before = uids(job)
    three.kubectl("delete", "pod", min(etcds(three)), "--wait=true", timeout=90.0)
    three.kubectl("rollout", "status", "statefulset", "--timeout=120s", timeout=130.0)
    at = trained(job, at + 500)
    assert uids(job) == before
    assert job.status().term.number == 1

    lost = next(node for node in there.nodes if node != HOME and {"server", "worker"} <= roles(job, node))
    assert lost in etcds(three).values()
    there.nodes[lost].kill()
    try:
        job.until(lambda s: s.term.number > 1 and s.phase == "Running", "all are replaced")
        at = trained(job, step_of(job.status()) + 500)
        left = {seat for seat, pod in job.pods().items() if pod["spec"]["nodeName"] == lost}
        assert left == set()
    finally:
        there.nodes[lost].start()
        there.await_nodes()
    ended = job.finished()
    assert ended.phase == "Succeeded", job.told()
    assert ended.progress is not None
    assert (ended.progress.samples_lost, ended.progress.samples_repeated) == (0, 0)
    three.kubectl("rollout", "status", "statefulset", "--timeout=120s", timeout=130.0)


def trained(job: Job, step: int) -> int:
    return step_of(job.until(lambda s: s.phase == "Running" and step_of(s) > step, f"step {step}"))


def etcds(release: Release) -> dict[str, str]:
    """Name of a pod of etcd -> its node."""
    items: list[dict[str, Any]] = release.get("pods", "--selector=app.kubernetes.io/component=etcd")["items"]
    return {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in items}


def roles(job: Job, node: str) -> set[str]:
    return {seat.split("-")[0] for seat, pod in job.pods().items() if pod["spec"]["nodeName"] == node}


def uids(job: Job) -> dict[str, str]:
    return {seat: pod["metadata"]["uid"] for seat, pod in job.pods().items()}
