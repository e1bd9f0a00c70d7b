"""What people change while a job trains: its size, its image, whether it runs at all. The step is never lost."""

import json
from collections.abc import Callable, Iterator

import pytest

from builders.releases import Job, Release, step_of
from deepseek_operator.api.conditions import get
from deepseek_operator.api.status import JobStatus


@pytest.fixture(scope="module")
def job(release: Release) -> Iterator[Job]:
    """One that trains, and would for long, for all tests of this file; each leaves it training."""
    found = release.submit("changed", lambda spec: spec["training"].update(steps=1_000_000))
    found.until(at_work(workers=3), "3 workers at work")
    yield found
    release.kubectl("delete", "deepseekjob", "changed", "--ignore-not-found", "--timeout=60s", timeout=90.0)


def test_kubectl_scale_adds_and_removes_workers_and_touches_nobody_else(job: Job) -> None:
    before = uids(job)
    scale(job, 5)
    grown = job.until(at_work(workers=5), "5 workers at work")
    assert before.items() <= uids(job).items()
    scale(job, 2)
    shrunk = job.until(lambda s: s.workers.replicas == 2 and at_work(workers=2)(s), "2 workers left")
    assert set(uids(job)) == {"server-0-0", "server-1-0", "worker-0-0", "worker-1-0"}
    assert {seat: before[seat] for seat in uids(job)} == uids(job)
    later = job.until(lambda s: step_of(s) > step_of(shrunk), "training goes on")
    assert later.term.number == grown.term.number == 1
    assert later.restarts_total == 0
    scale(job, 3)
    job.until(at_work(workers=3), "3 workers at work again")


def test_applying_the_same_manifest_again_changes_nothing(job: Job) -> None:
    before, pods = job.read(), uids(job)
    manifest = json.loads(before["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"])
    job.release.kubectl("apply", "-f", "-", given=json.dumps(manifest))
    at = step_of(job.status())
    status = job.until(lambda s: step_of(s) > at + 50, "training goes on")
    after = job.read()
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert (uids(job), status.restarts_total) == (pods, 0)


def test_suspended_and_resumed_it_goes_on_from_its_last_step(job: Job) -> None:
    job.patch({"spec": {"suspend": True}})
    status = job.until(lambda s: s.phase == "Suspended", "suspended")
    said = get(status.conditions, "Suspended")
    assert said is not None
    assert said.message  # what came of the last checkpoint
    assert job.pods() == {}
    assert status.progress is not None
    assert status.progress.checkpoint is not None
    stopped = status.progress.step
    assert status.progress.checkpoint.step == stopped
    job.patch({"spec": {"suspend": False}})
    job.until(lambda s: s.phase == "Running" and step_of(s) > stopped, "training goes on")
    assert f"from checkpoint of step {stopped}" in " ".join(message for _, message in job.events())


def test_another_image_replaces_all_members_and_loses_no_step(job: Job) -> None:
    (image,) = {pod["spec"]["containers"][0]["image"] for pod in job.pods().values()}
    # The same image by another of its names: it is on the nodes, and it is another one for all that anybody knows.
    other = image.removeprefix("docker.io/") if image.startswith("docker.io/") else f"docker.io/{image}"
    was, pods = job.status(), uids(job)
    job.patch({"spec": {"image": other}})
    status = job.until(
        lambda s: s.phase == "Running" and not set(pods.values()) & set(uids(job).values()) and opened(job, was) >= 0,
        "all replaced, and training",
    )
    assert {pod["spec"]["containers"][0]["image"] for pod in job.pods().values()} == {other}
    assert opened(job, was) >= step_of(was)
    assert status.restarts == 0


def opened(job: Job, before: JobStatus) -> int:
    """The step that the next term began from, as its Event says; -1: there is none yet."""
    start = f"term {before.term.number + 1}: 2 servers, from checkpoint of step "
    return next((int(message.removeprefix(start)) for _, message in job.events() if message.startswith(start)), -1)


def scale(job: Job, workers: int) -> None:
    job.release.kubectl("scale", f"deepseekjob/{job.name}", f"--replicas={workers}")


def at_work(workers: int) -> Callable[[JobStatus], bool]:
    return lambda status: (
        status.workers.ready == workers
        and status.phase == "Running"
        and status.progress is not None
        and status.progress.workers == workers
        and status.progress.step > 0
    )


def uids(job: Job) -> dict[str, str]:
    return {seat: pod["metadata"]["uid"] for seat, pod in job.pods().items()}
