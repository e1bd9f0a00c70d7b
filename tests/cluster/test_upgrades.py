"""`helm upgrade` to a newer version while a job trains: nobody is replaced, nothing is lost."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from builders.other_versions import newer_chart, newer_operator, with_older_definition
from builders.releases import Job, Release, image_names, step_of
from testcluster import images
from testcluster.cluster import Cluster
from testcluster.volumes import storage_class, volume

NEWER: Final = "0.99.0"
pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(1800)]  # the definition is the cluster's
STEPS: Final = 20_000
DEFINITION: Final = {"crds": {"enabled": True}}


@pytest.fixture(scope="module")
def older(loaded: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """This version, its definition an older one, and checkpoints that outlive a restart of the store."""
    release = Release(loaded, f"upgraded-{uuid.uuid4().hex[:8]}")
    loaded.apply(
        storage_class(release.namespace),
        volume(loaded.layout, release.namespace, "ReadWriteOnce", of_class=release.namespace),
    )
    try:
        release.install({"store": store_of(release)})
        release.own_definition()
        release.upgrade(
            {"store": store_of(release)} | DEFINITION, with_older_definition(tmp_path_factory.mktemp("older"))
        )
        yield release
    finally:
        release.remove()
        loaded.kubectl("delete", "persistentvolume", release.namespace, "--wait=false")
        loaded.kubectl("delete", "storageclass", release.namespace)


def test_nobody_is_replaced_and_nothing_is_lost(older: Release, tmp_path: Path) -> None:
    release = older
    release.cluster.load(newer_operator(tmp_path, NEWER))
    chart = newer_chart(tmp_path, NEWER)
    job = release.submit("upgraded", lambda spec: spec["training"].update(steps=STEPS))
    stays = {"spec": {"runPolicy": {"ttlSecondsAfterFinished": 600}}}
    job.patch(stays)
    assert "ttlSecondsAfterFinished" not in job.read()["spec"]["runPolicy"], "the definition is not the older one"
    job.until(lambda s: s.phase == "Running" and s.workers.ready == 3 and step_of(s) > 500, "all at work")
    before, etcd, was = uids(job), release.pod("etcd"), job.status()

    newer = values(release)
    release.upgrade(newer, chart)

    assert f"deepseek-operator {NEWER} runs" in release.kubectl("logs", release.leader(), "-c", "operator")
    at = job.status()
    assert not at.finished, "it ended before the upgrade did: make it longer"
    status = job.until(lambda s: step_of(s) > step_of(at) + 500, "training goes on under the newer operator")
    assert uids(job) == before
    assert (status.term.number, status.generation, status.restarts_total) == (1, was.generation, 0)
    assert release.pod("etcd") == etcd, "a newer chart with the same etcd restarts it"
    job.patch(stays)
    assert "ttlSecondsAfterFinished" in job.read()["spec"]["runPolicy"]

    # Whoever is replaced from now on is as the newer operator makes pods.
    release.kubectl("delete", "pod", "upgraded-worker-0-0", "--wait=false")
    job.until(lambda s: "worker-0-1" in uids(job), "a replacement")
    made = job.pods()["worker-0-1"]["spec"]
    assert {t["tolerationSeconds"] for t in made["tolerations"] if "tolerationSeconds" in t} == {
        newer["jobs"]["nodeLostSeconds"]
    }
    assert made["containers"][0]["image"].startswith(newer["jobs"]["image"]["repository"] + ":")

    ended = job.finished()
    assert (ended.phase, ended.term.number, ended.restarts_total) == ("Succeeded", 1, 1), job.told()
    assert ended.progress is not None
    assert (ended.progress.samples_lost, ended.progress.samples_repeated) == (0, 0)


def store_of(release: Release) -> dict[str, Any]:
    return {"persistence": {"storageClassName": release.namespace, "size": "1Gi", "keep": False}}


def values(release: Release) -> dict[str, Any]:
    """The newer operator, and what makes its pods of jobs other pods: their image's name, tolerations, policy."""
    repository, tag = image_names()
    runtime = f"{repository}/runtime".removeprefix("docker.io/")  # the same one, which the nodes have
    return {
        **DEFINITION,
        "operator": {"image": {"repository": f"docker.io/{images.REPOSITORY}/operator", "tag": NEWER}},
        "jobs": {
            "image": {"repository": runtime, "tag": tag},
            "nodeLostSeconds": 77,
            "networkPolicy": {"openPorts": [443]},
        },
        "store": store_of(release),
    }


def uids(job: Job) -> dict[str, str]:
    return {seat: pod["metadata"]["uid"] for seat, pod in job.pods().items()}
