"""The main job: helm install, kubectl apply -f examples/digits.yaml, kubectl get deepseekjobs, a trained model."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from builders.releases import DIGITS, PATIENCE, Job, Release, step_of

OWNED = ("pods", "secrets", "configmaps", "poddisruptionbudgets", "networkpolicies")


@pytest.fixture(scope="module")
def watched(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Job, list[list[str]]]]:
    """The finished job, and the lines of `kubectl get deepseekjobs -w` from its first second on, by cell."""
    shown = tmp_path_factory.mktemp("watch") / "shown.txt"
    release.kubectl("apply", "-f", DIGITS)
    with shown.open("w") as file:
        watch = subprocess.Popen(
            [release.cluster.programs / "kubectl", "get", "deepseekjobs", "digits", "-w", "-n", release.namespace],
            env={**release.cluster.environment, "PATH": "/usr/bin:/bin"},
            stdout=file,
        )
        try:
            release.kubectl(
                "wait", "--for=condition=Finished", "deepseekjob/digits", f"--timeout={PATIENCE:g}s",
                timeout=PATIENCE + 10,
            )  # fmt: skip
        finally:
            watch.terminate()
            watch.wait(10)
    yield Job(release, "digits"), [re.split(r" {2,}", line.strip()) for line in shown.read_text().splitlines()]
    release.kubectl("delete", "deepseekjob", "digits", "--ignore-not-found")


def test_it_succeeds_with_at_least_98_percent_accuracy_and_every_sample_counted_once(
    watched: tuple[Job, list[list[str]]],
) -> None:
    job, _ = watched
    status = job.status()
    assert status.phase == "Succeeded", job.told()
    assert status.progress is not None
    assert status.progress.step == status.progress.steps == 6000
    assert status.progress.metrics_step == 6000
    assert status.progress.metrics["accuracy"] >= 0.98
    # The chief counts when all is done, and tells as the last of all.
    eventually(lambda: counted(job), "the samples are not counted")
    status = job.status()
    assert status.progress is not None
    assert (status.progress.samples_lost, status.progress.samples_repeated) == (0, 0)


def test_every_column_is_filled_while_it_runs(watched: tuple[Job, list[list[str]]]) -> None:
    head, *rows = watched[1]
    assert head == ["NAME", "PHASE", "STEP", "WORKERS", "SERVERS", "LOSS", "CHECKPOINT", "RESTARTS", "AGE"]
    full = [row for row in rows if row[1] == "Running" and len(row) == len(head) and "-" not in row]
    assert full, rows
    assert all(re.fullmatch(r"\d+/6000", row[2]) and re.fullmatch(r"[1-3]/3", row[3]) for row in full), full
    assert any(row[3:5] == ["3/3", "2/2"] for row in full), full  # a worker may be late: the job runs with those it has
    assert {row[1] for row in rows} >= {"Starting", "Running", "Succeeded"}


def test_describe_tells_its_story(watched: tuple[Job, list[list[str]]]) -> None:
    job, _ = watched
    told = [reason for reason, _ in job.events()]
    places = [told.index(reason) for reason in ("Created", "TermRaised", "TermOpened", "CheckpointSaved", "Evaluated")]
    assert places == sorted(places)
    eventually(lambda: "Succeeded" in [reason for reason, _ in job.events()], "no event tells of the end")
    described = job.release.kubectl("describe", "dsj", "digits")
    assert re.search(r"Evaluated .*step 6000: accuracy 0\.9[89]", described), described


def test_a_job_deleted_while_it_trains_leaves_nothing(release: Release) -> None:
    job = release.submit("deleted", lambda spec: spec["training"].update(steps=1_000_000))
    job.until(lambda status: step_of(status) > 0, "a step")
    uid = job.read()["metadata"]["uid"]
    assert {kind for kind in OWNED if owned(release, kind, uid)} == set(OWNED)
    assert keys_of(release, uid)
    release.kubectl("delete", "deepseekjob", "deleted", "--timeout=60s", timeout=90.0)
    eventually(lambda: not any(owned(release, kind, uid) for kind in OWNED), "something that it owned is left")
    eventually(lambda: not keys_of(release, uid), "keys in etcd are left")


def owned(release: Release, kind: str, uid: str) -> list[str]:
    items: list[dict[str, Any]] = release.get(kind)["items"]
    return [
        item["metadata"]["name"]
        for item in items
        if any(owner["uid"] == uid for owner in item["metadata"].get("ownerReferences", ()))
    ]


def keys_of(release: Release, uid: str) -> list[str]:
    return [key for key in release.etcd_keys() if f"/{uid}/" in key]


def eventually(true: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + 180.0
    while not true():
        assert time.monotonic() < end, otherwise
        time.sleep(0.5)


def counted(job: Job) -> bool:
    progress = job.status().progress
    return progress is not None and progress.samples_counted
