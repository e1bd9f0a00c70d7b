"""What keeps a job from running: its condition and an Event say it, with the remedy; nothing is tried without end."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from builders.releases import Job, Release
from deepseek_operator.api.conditions import get
from deepseek_operator.api.status import Condition, JobStatus

Change = Callable[[dict[str, Any]], object]

CLAIM = "one-node-alone"


@pytest.fixture(scope="module")
def claim(release: Release) -> Iterator[str]:
    """Which nodes cannot share. No volume needs to stand behind it."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "",
        "volumeName": "none-yet",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    manifest = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM}, "spec": spec}
    release.kubectl("apply", "-f", "-", given=json.dumps(manifest))
    yield CLAIM
    release.kubectl("delete", "pvc", CLAIM, "--wait=false")


@pytest.mark.parametrize(
    "change, reason, words",
    [
        pytest.param(
            lambda spec: spec.update(image="127.0.0.1:9/nobody/runtime:none"),
            "ImageCannotBePulled",
            ("127.0.0.1:9/nobody/runtime:none", "spec.image", "-0-0"),
            id="image",
        ),
        pytest.param(
            lambda spec: spec["checkpoint"].update(storage={"pvc": CLAIM}),
            "StorageNotShared",
            (CLAIM, "ReadWriteMany"),
            id="claim",
        ),
        pytest.param(
            lambda spec: spec["workers"].update(pod={"nodeSelector": {"no": "such-node"}}),
            "Unschedulable",
            ("worker-0", "nodeSelector", "spec.workers"),
            id="node",
        ),
        pytest.param(
            lambda spec: spec["servers"].update(resources={"requests": {"memory": "900Ti"}}),
            "Unschedulable",
            ("server-0", "spec.servers.resources.requests"),
            id="memory",
        ),
        pytest.param(
            lambda spec: spec["training"].update(task="deepseek_runtime.tasks.digits:NoSuchTask"),
            "TaskNotFound",
            ("NoSuchTask",),
            id="task",
        ),
    ],
)
def test_it_is_said_and_not_tried_without_end(
    release: Release, claim: str, change: Change, reason: str, words: tuple[str, ...], record_property: Any
) -> None:
    def altered(spec: dict[str, Any]) -> None:
        spec.setdefault("checkpoint", {})
        change(spec)

    job = release.submit("stuck", altered)
    try:
        status = job.until(obstacle, f"{reason} is told", ended=True)
        said = obstacle(status)
        assert said is not None
        assert said.reason == reason, said
        assert all(word in said.message for word in words), said.message
        made = job.read()["metadata"]["creationTimestamp"]
        record_property("created, told", f"{made}, {said.last_transition_time}")
        assert any(all(word in message for word in words) for _, message in job.events()), job.events()
        assert status.restarts_total <= 3, job.told()
    finally:
        release.kubectl("delete", "deepseekjob", job.name, "--timeout=60s", timeout=90.0)


def obstacle(status: JobStatus) -> Condition | None:
    """The condition that says so: Failed where it is final, else Blocked."""
    found = [get(status.conditions, "Failed"), get(status.conditions, "Blocked")]
    return next((one for one in found if one is not None and one.status == "True"), None)


def test_what_is_put_right_goes_on(release: Release, job_of_no_node: Job) -> None:
    job_of_no_node.patch({"spec": {"workers": {"pod": {"nodeSelector": None}}}})
    status = job_of_no_node.until(lambda status: status.phase == "Running", "it runs")
    assert obstacle(status) is None


@pytest.fixture
def job_of_no_node(release: Release) -> Iterator[Job]:
    def altered(spec: dict[str, Any]) -> None:
        spec["training"]["steps"] = 1_000_000
        spec["workers"].update(pod={"nodeSelector": {"no": "such-node"}})

    job = release.submit("mended", altered)
    job.until(obstacle, "it is blocked")
    yield job
    release.kubectl("delete", "deepseekjob", job.name, "--timeout=60s", timeout=90.0)
