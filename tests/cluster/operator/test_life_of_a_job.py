"""Scale, suspend, resume, roll-out, deletion and what is left, on a real API server."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from deepseek_operator.api.stored_status import read_status
from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.membership.connection import Connection

Until = Callable[..., None]


def keys_of(place: Any) -> list[str]:
    connection = Connection((place.etcd.endpoint,), 5.0, place.etcd.tls)
    try:
        return [entry.key for entry in connection.list(JobKeys.root(place.namespace)).entries]
    finally:
        connection.close()


def events_of(place: Any) -> dict[str, int]:
    items = place.cluster.get("events", "-n", place.namespace, "--field-selector=involvedObject.kind=DeepseekJob")
    return {item["reason"]: item["count"] for item in items["items"]}


def left(place: Any) -> list[str]:
    found = place.cluster.get("pods,secrets,configmaps,networkpolicies,pdb", "-n", place.namespace)["items"]
    return [item["metadata"]["name"] for item in found if item["metadata"]["name"] != "kube-root-ca.crt"]


def test_scale_suspend_resume_and_roll_out(place: Any, until: Until) -> None:
    place.operator("one")
    job = place.submit()
    with place.puppets(job) as puppets:
        place.phase("Running")
        puppets.step = 120
        place.cluster.kubectl("scale", "deepseekjob/digits", "-n", place.namespace, "--replicas=3")
        until(lambda: place.job()["status"]["columns"]["workers"] == "3/3", "3 workers")
        assert "digits-worker-2-0" in place.pods()
        place.cluster.kubectl("scale", "deepseekjob/digits", "-n", place.namespace, "--replicas=1")
        until(lambda: sorted(place.pods()) == ["digits-server-0-0", "digits-server-1-0", "digits-worker-0-0"], "shrunk")

        place.patch('{"spec":{"suspend":true}}')
        place.phase("Suspended")
        until(lambda: not place.pods(), "no pod is left")
        condition = next(c for c in place.job()["status"]["conditions"] if c["type"] == "Suspended")
        assert condition["message"] == "a checkpoint was written, of step 120"
        place.patch('{"spec":{"suspend":false}}')
        place.phase("Running")
        assert sorted(place.pods()) == ["digits-server-0-1", "digits-server-1-1", "digits-worker-0-1"]
        assert place.job()["status"]["columns"]["step"] == "120/1000"

        generation = read_status(place.job()).generation
        place.patch('{"spec":{"training":{"optimizer":{"lr":0.01}}}}')
        until(lambda: read_status(place.job()).generation != generation, "the new generation")
        place.phase("Running")
        assert sorted(place.pods()) == ["digits-server-0-2", "digits-server-1-2", "digits-worker-0-2"]
        status = read_status(place.job())
        assert (status.term.number, status.columns.step, status.restarts) == (3, "120/1000", 0)
        told = events_of(place)
        assert {"Created", "TermRaised", "ScaledDown", "Draining", "Drained", "Resumed", "RolledOut"} <= told.keys()
        used = {m["configMap"]["name"] for m in volumes(place, "digits-worker-0-2") if "configMap" in m}
        assert len(used) == 1


def volumes(place: Any, pod: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = place.cluster.get("pod", pod, "-n", place.namespace)["spec"]["volumes"]
    return found


def test_a_drain_that_nobody_obeys_is_bounded(place: Any, until: Until) -> None:
    place.operator("one", drain_seconds="3")
    job = place.submit()
    with place.puppets(job) as puppets:
        place.phase("Running")
        puppets.drains = False
        place.patch('{"spec":{"suspend":true}}')
        place.phase("Suspended")
        condition = next(c for c in place.job()["status"]["conditions"] if c["type"] == "Suspended")
        assert condition["message"].startswith("no checkpoint was written within 3 s")


def test_deletion_leaves_nothing(place: Any, until: Until) -> None:
    place.operator("one")
    job = place.submit()
    with place.puppets(job):
        place.phase("Running")
        assert keys_of(place)
        place.cluster.kubectl("delete", "deepseekjob", "digits", "-n", place.namespace, "--wait=true")
        until(lambda: left(place) == [], f"left: {left(place)}")
    until(lambda: keys_of(place) == [], f"keys: {keys_of(place)}")
    until(lambda: "Deleted" in events_of(place), "what becomes of its checkpoints is said")
    found = place.cluster.get("events", "-n", place.namespace, "--field-selector=reason=Deleted")["items"]
    assert "its checkpoints stay in memory://store" in found[0]["message"]


def test_keys_of_a_job_that_went_while_nobody_looked_are_swept(place: Any, until: Until) -> None:
    first = place.operator("one")
    job = place.submit()
    with place.puppets(job):
        place.phase("Running")
        first.kill()
        place.cluster.kubectl("delete", "deepseekjob", "digits", "-n", place.namespace, "--wait=true")
        until(lambda: left(place) == [], f"left: {left(place)}")
    assert keys_of(place)
    other = place.submit("other", workers={"replicas": 1}, servers={"replicas": 1})
    place.operator("one")
    with place.puppets(other):
        place.phase("Running", "other")
        until(lambda: {key.split("/")[4] for key in keys_of(place)} == {"other"}, "only keys of the job that is there")


def test_a_namespace_ends_while_the_operator_is_down(place: Any, until: Until) -> None:
    first = place.operator("one")
    first.leads()
    place.submit()
    until(lambda: len(place.pods()) == 4, "pods")
    first.kill()
    place.cluster.kubectl("delete", "namespace", place.namespace, "--wait=true", "--timeout=120s", timeout=150)
    place.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place.namespace}})


def test_a_finished_job_goes_after_its_time_to_live(place: Any, until: Until) -> None:
    place.operator("one")
    job = place.submit(runPolicy={"ttlSecondsAfterFinished": 3})
    with place.puppets(job) as puppets:
        place.phase("Running")
        puppets.finished = True
        place.phase("Succeeded")
        until(lambda: not place.there(), "the job is gone")


def test_job_that_fails_says_so_and_its_pods_stay_gone(place: Any, until: Until) -> None:
    place.operator("one")
    place.submit(runPolicy={"activeDeadlineSeconds": 4})
    place.phase("Failed")
    condition = next(c for c in place.job()["status"]["conditions"] if c["type"] == "Failed")
    assert condition["reason"] == "DeadlineExceeded"
    until(lambda: not place.pods(), "no pod is left")
    time.sleep(3.0)
    assert not place.pods()


@pytest.mark.parametrize("path", ["metrics", "healthz", "readyz"])
def test_probes(place: Any, until: Until, path: str) -> None:
    replica = place.operator("one")
    replica.leads()
    until(lambda: replica.get("readyz")[0] == 200, "ready")
    code, text = replica.get(path)
    assert code == 200
    if path == "metrics":
        place.submit()
        until(lambda: 'deepseek_operator_jobs{phase="Starting"} 1.0' in replica.get("metrics")[1], "a job is counted")
        assert "deepseek_operator_leader 1.0" in text


def test_members_that_are_deleted_are_replaced_also_by_a_replica_that_comes_later(place: Any, until: Until) -> None:
    first = place.operator("one")
    job = place.submit()
    with place.puppets(job):
        place.phase("Running")
        place.cluster.kubectl("delete", "pod", "digits-worker-0-0", "-n", place.namespace, "--wait=true")
        until(lambda: "digits-worker-0-1" in place.pods(), "a replacement")
        place.phase("Running")
        first.kill()
        place.operator("one").leads()
        place.cluster.kubectl("delete", "pod", "digits-worker-0-1", "-n", place.namespace, "--wait=true")
        until(lambda: "digits-worker-0-2" in place.pods(), "a replacement")
    assert "events" not in place.job()["status"]
    told = events_of(place)
    assert {"MemberVanished", "MemberDisrupted", "MemberLost"} & told.keys()
    assert told["Created"] == 1
    assert "digits-server-0-0" in place.pods(), "others are left alone"
