"""The chart for all of a cluster, uninstalled and installed again; and a second release beside it."""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from builders.releases import CHART, RELEASE, Job, Release, make_namespace, step_of
from testcluster.cluster import Cluster
from testcluster.commands import CommandFailed

pytestmark = [pytest.mark.alone, pytest.mark.slow]  # it runs every job of the cluster

DENIED = (
    ("list", "secrets"),
    ("watch", "secrets"),
    ("create", "pods/exec"),
    ("get", "pods/log"),
    ("create", "deployments.apps"),
    ("create", "serviceaccounts/token"),
    ("create", "rolebindings.rbac.authorization.k8s.io"),
    ("create", "persistentvolumeclaims"),
    ("create", "deepseekjobs.deepseek.dev"),
    ("update", "deepseekjobs.deepseek.dev"),
    ("update", "leases.coordination.k8s.io"),
    ("get", "namespaces"),
    ("patch", "nodes"),
)
ALL: dict[str, Any] = {"watchNamespaces": [], "crds": {"enabled": True}}


@pytest.fixture(scope="module")
def wide(loaded: Cluster) -> Iterator[Release]:
    """A release that owns the definition and runs the jobs of all namespaces."""
    release = Release(loaded, f"wide-{uuid.uuid4().hex[:8]}")
    try:
        release.install()
        release.own_definition()
        release.upgrade(ALL)
        yield release
    finally:
        release.remove()


@pytest.fixture(scope="module")
def jobs(wide: Release) -> Iterator[list[Job]]:
    """One in each of two namespaces, training for long."""
    teams = [Release(wide.cluster, f"team-{letter}-{uuid.uuid4().hex[:6]}") for letter in "ab"]
    for team in teams:
        make_namespace(wide.cluster, team.namespace)
    found = [team.submit("digits", small) for team in teams]
    for job in found:
        job.until(lambda s: s.phase == "Running" and step_of(s) > 0, "it trains")
    yield found
    for team in teams:
        wide.cluster.kubectl("delete", "namespace", team.namespace, "--ignore-not-found", "--wait=false")


def small(spec: dict[str, Any]) -> None:
    spec["training"]["steps"] = 10_000_000
    spec["servers"]["replicas"] = 1
    spec["workers"].update(replicas=1, max=1)


def test_the_jobs_of_two_namespaces_run_with_the_rights_of_the_chart_and_none_more(
    wide: Release, jobs: list[Job]
) -> None:
    assert len({job.release.namespace for job in jobs}) == 2
    refused = [write for write in wide.cluster.writes(user=wide.user) if write.code in (401, 403)]
    assert refused == []
    asked = wide.kubectl("get", "--raw", f"/api/v1/namespaces/{wide.namespace}/pods/{wide.leader()}:8080/proxy/metrics")
    answered = [line for line in asked.splitlines() if line.startswith("deepseek_operator_api_requests_total{")]
    assert any('outcome="ok"' in line for line in answered), answered
    assert not any("orbidden" in line for line in answered), answered
    elsewhere = jobs[0].release.namespace
    for verb, resource in DENIED:
        assert not may(wide, verb, resource, elsewhere), f"{verb} {resource}"
    assert may(wide, "create", "pods", elsewhere)
    assert may(wide, "update", "leases.coordination.k8s.io", wide.namespace)


def test_a_second_release_that_brings_the_definition_too_is_told_who_has_it(wide: Release, namespace: str) -> None:
    words = ("install", RELEASE, CHART, f"--namespace={namespace}", "--set", f"watchNamespaces={{{namespace}}}")
    with pytest.raises(
        CommandFailed, match=f"of the release {RELEASE} in the namespace {wide.namespace}: set crds.enab"
    ):
        wide.cluster.helm(*words)
    said = wide.cluster.helm(*words, "--set", "crds.enabled=false", "--set", "operator.replicas=0")
    assert f"kubectl delete deepseekjobs --all -n {namespace}" in said
    assert "delete crd" not in said
    wide.cluster.helm("uninstall", RELEASE, f"--namespace={namespace}")


def test_uninstalled_it_leaves_definition_and_jobs_and_has_said_how_to_remove_them(
    wide: Release, jobs: list[Job]
) -> None:
    notes = wide.cluster.helm("get", "notes", RELEASE, f"--namespace={wide.namespace}")
    assert "kubectl delete deepseekjobs --all --all-namespaces" in notes
    assert "kubectl delete crd deepseekjobs.deepseek.dev" in notes
    before = [pods(job) for job in jobs]
    said = wide.cluster.helm("uninstall", RELEASE, f"--namespace={wide.namespace}", "--wait")
    assert "[CustomResourceDefinition] deepseekjobs.deepseek.dev" in said
    time.sleep(15.0)
    assert [pods(job) for job in jobs] == before

    # Nobody who could see to it is there.
    gone, kept = jobs
    wide.cluster.kubectl("delete", "namespace", gone.release.namespace, "--wait=true", "--timeout=120s", timeout=150)

    at = step_of(kept.status())
    wide.upgrade(ALL)
    kept.until(lambda s: step_of(s) > at + 500, "it trains under the one installed again")


def pods(job: Job) -> dict[str, tuple[str, int]]:
    return {
        seat: (pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"])
        for seat, pod in job.pods().items()
    }


def may(release: Release, verb: str, resource: str, namespace: str) -> bool:
    """Whether the operator may, as the API server says."""
    whole, _, subresource = resource.partition("/")
    name, _, group = whole.partition(".")
    asked = {"verb": verb, "group": group, "resource": name, "subresource": subresource, "namespace": namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": release.user, "resourceAttributes": asked},
    }
    answer = release.cluster.kubectl("create", "-f", "-", "--output=json", given=json.dumps(review))
    return bool(json.loads(answer)["status"]["allowed"])
