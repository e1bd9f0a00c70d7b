"""The test cluster itself: what every other test here takes for granted."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from testcluster.cluster import Cluster
from testcluster.commands import CommandFailed
from testcluster.pods import pod
from testcluster.volumes import storage_class, volume


def test_two_nodes_are_ready_each_with_a_runtime_of_its_own(cluster: Cluster) -> None:
    nodes = cluster.get("nodes")["items"]
    assert {node["metadata"]["name"] for node in nodes} == set(cluster.nodes)
    assert len(cluster.ready_nodes()) >= 2
    addresses = {a["address"] for node in nodes for a in node["status"]["addresses"] if a["type"] == "InternalIP"}
    assert addresses == {node.address for node in cluster.nodes.values()}


def test_pods_on_two_nodes_reach_each_other_by_the_name_of_a_service(cluster: Cluster, namespace: str) -> None:
    cluster.apply(
        within(namespace, pod("server", "serve", ":8080", node="node1", labels={"app": "web"})),
        within(namespace, pod("near", "wait", node="node1")),
        within(namespace, pod("far", "wait", node="node2")),
        within(namespace, service("web", {"app": "web"}, 80, 8080)),
    )
    await_running(cluster, namespace, "server", "near", "far")
    for client in ("near", "far", "server"):
        # A moment may pass until every node's kube-proxy knows of the Service.
        answer = wait_for(lambda client=client: ask(cluster, namespace, client, f"http://web.{namespace}.svc"))  # type: ignore[misc]
        assert answer == "server\n"


def test_a_pod_of_one_node_reaches_a_pod_of_the_other_and_nothing_beyond(cluster: Cluster, namespace: str) -> None:
    cluster.apply(
        within(namespace, pod("server", "serve", ":8080", node="node1")),
        within(namespace, pod("client", "wait", node="node2")),
    )
    await_running(cluster, namespace, "server", "client")
    address = cluster.get("pod", "server", f"--namespace={namespace}")["status"]["podIP"]
    assert wait_for(lambda: ask(cluster, namespace, "client", f"http://{address}:8080")) == "server\n"
    with pytest.raises(CommandFailed, match="unreachable"):
        # An address of nobody (RFC 5737).
        cluster.kubectl("exec", "client", f"--namespace={namespace}", "--", "/probe", "get", "http://203.0.113.1")


def test_a_killed_container_is_started_again_in_the_same_pod(cluster: Cluster, namespace: str) -> None:
    cluster.apply(within(namespace, pod("victim", "wait")))
    await_running(cluster, namespace, "victim")
    before = cluster.get("pod", "victim", f"--namespace={namespace}")

    cluster.signal(namespace, "victim")

    def again() -> Any:
        found = cluster.get("pod", "victim", f"--namespace={namespace}")
        status = found["status"]["containerStatuses"][0]
        return found if status["restartCount"] == 1 and status["ready"] else None

    after = wait_for(again)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137


def test_a_volume_for_many_is_seen_from_both_nodes(cluster: Cluster, namespace: str) -> None:
    name = f"{namespace}-shared"
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "shared"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": name,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    pods = []
    for node in ("node1", "node2"):
        one = pod(node, "wait", node=node)
        one["spec"]["volumes"] = [{"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}]
        one["spec"]["containers"][0]["volumeMounts"] = [{"name": "shared", "mountPath": "/shared"}]
        pods.append(within(namespace, one))
    try:
        cluster.apply(
            storage_class(name),
            volume(cluster.layout, name, "ReadWriteMany", of_class=name),
            within(namespace, claim),
            *pods,
        )
        await_running(cluster, namespace, "node1", "node2")
        (cluster.layout.volumes / name / "letter").write_text("hello")
        for node in ("node1", "node2"):
            found = cluster.get("pod", node, f"--namespace={namespace}")
            container = found["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
            main = cluster.nodes[node].processes(container)[0]
            assert Path("/proc", str(main), "root", "shared", "letter").read_text() == "hello"
    finally:
        cluster.kubectl("delete", "pod", "--all", f"--namespace={namespace}", "--timeout=60s")
        cluster.kubectl("delete", "persistentvolume", name, "--wait=false")
        cluster.kubectl("delete", "storageclass", name)


def test_pod_security_refuses_a_privileged_pod(cluster: Cluster, namespace: str) -> None:
    privileged = pod("privileged", "wait")
    privileged["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    with pytest.raises(CommandFailed, match='violates PodSecurity "restricted'):
        cluster.apply(within(namespace, privileged))


def test_what_was_written_and_by_whom_is_known(cluster: Cluster, namespace: str) -> None:
    begin = datetime.now(UTC)
    cluster.kubectl("create", "configmap", "one", f"--namespace={namespace}", "--from-literal=a=b")
    cluster.kubectl("get", "configmap", "one", f"--namespace={namespace}")

    written = [write for write in cluster.writes(since=begin, user="admin") if write.namespace == namespace]

    assert [(write.verb, write.resource, write.name, write.code) for write in written] == [
        ("create", "configmaps", "one", 201)
    ]
    assert written[0].client.startswith("kubectl/")


@pytest.mark.alone
def test_a_node_whose_power_fails_is_given_up_and_may_come_back(cluster: Cluster, namespace: str) -> None:
    template = pod("moving", "serve", ":8080", labels={"app": "moving"}, lost_after=1)
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "moving"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "moving"}},
            "template": {"metadata": {"labels": {"app": "moving"}}, "spec": template["spec"]},
        },
    }
    cluster.apply(within(namespace, deployment))
    first = wait_for(lambda: running(cluster, namespace, other_than=""))
    lost = first["spec"]["nodeName"]
    survivor = next(name for name in cluster.nodes if name != lost)
    try:
        cluster.nodes[lost].kill()
        assert not cluster.nodes[lost].running()

        second = wait_for(lambda: running(cluster, namespace, other_than=first["metadata"]["uid"]), 120 + cluster.grace)

        assert second["spec"]["nodeName"] == survivor
        assert lost not in cluster.ready_nodes()
        evicted = cluster.get("pod", first["metadata"]["name"], f"--namespace={namespace}")
        assert "deletionTimestamp" in evicted["metadata"], "nobody told the dead node's pod to end"
    finally:
        if not cluster.nodes[lost].running():
            cluster.nodes[lost].start()
    cluster.await_nodes()
    # Its kubelet now ends what it was told to end while it was away.
    wait_for(lambda: [one["metadata"]["uid"] for one in pods(cluster, namespace)] == [second["metadata"]["uid"]])


def within(namespace: str, thing: dict[str, Any]) -> dict[str, Any]:
    return {**thing, "metadata": {**thing["metadata"], "namespace": namespace}}


def service(name: str, selector: dict[str, str], port: int, target: int) -> dict[str, Any]:
    spec = {"selector": selector, "ports": [{"port": port, "targetPort": target}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def await_running(cluster: Cluster, namespace: str, *names: str) -> None:
    waited = [f"pod/{name}" for name in names]
    cluster.kubectl("wait", *waited, f"--namespace={namespace}", "--for=condition=Ready", "--timeout=180s", timeout=200)


def ask(cluster: Cluster, namespace: str, client: str, url: str) -> str | None:
    try:
        return cluster.kubectl("exec", client, f"--namespace={namespace}", "--", "/probe", "get", url)
    except CommandFailed:
        return None


def pods(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    found = cluster.kubectl("get", "pods", f"--namespace={namespace}", "--output=json")
    return list(json.loads(found)["items"])


def running(cluster: Cluster, namespace: str, other_than: str) -> Any:
    """A pod that is ready and not about to end."""
    for one in pods(cluster, namespace):
        ready = any(status["ready"] for status in one["status"].get("containerStatuses", ()))
        if ready and one["metadata"]["uid"] != other_than and "deletionTimestamp" not in one["metadata"]:
            return one
    return None


def wait_for(look: Callable[[], Any], timeout: float = 180.0) -> Any:
    """What `look` finds, as soon as that is something."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s"
        time.sleep(0.2)
    return found
