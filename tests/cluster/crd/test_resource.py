"""The resource as people meet it: its names, its columns, `kubectl scale`, and its status."""

import json
from collections.abc import Callable
from typing import Any

from builders.kubectl import Kubectl
from builders.manifests import RIGHT, with_spec
from builders.world import EPOCH, World
from deepseek_operator.api.status import JobStatus
from deepseek_operator.api.stored_status import read_status
from deepseek_operator.api.stored_status import stored as as_stored

Store = Callable[[str], dict[str, Any]]


def report(kubectl: Kubectl, status: JobStatus) -> dict[str, Any]:
    """Puts a status there as the operator does; what the API server kept of it."""
    patch = json.dumps({"status": as_stored(status)})
    kubectl.done("patch", "dsj", "digits", "--subresource=status", "--type=merge", f"--patch={patch}")
    found = kubectl.job("digits")["status"]
    assert isinstance(found, dict)
    return found


def columns(kubectl: Kubectl, *words: str) -> dict[str, str]:
    """The table of one job, by column."""
    header, row = kubectl.done("get", "dsj", *words).splitlines()
    starts = [header.index(name) for name in header.split()] + [None]
    return {name: row[start:end].strip() for name, start, end in zip(header.split(), starts, starts[1:], strict=False)}


def test_short_name_and_category(kubectl: Kubectl, stored: Store) -> None:
    stored(RIGHT)
    assert "deepseekjob.deepseek.dev/digits" in kubectl.done("get", "all", "--output=name")
    assert kubectl.done("get", "dsj", "--output=name") == "deepseekjob.deepseek.dev/digits\n"


def test_columns_are_filled_before_an_operator_has_seen_the_job(kubectl: Kubectl, stored: Store) -> None:
    stored(RIGHT)
    seen = columns(kubectl)
    assert {name: seen[name] for name in ("PHASE", "STEP", "WORKERS", "SERVERS", "LOSS", "RESTARTS")} == {
        "PHASE": "Pending", "STEP": "-", "WORKERS": "-", "SERVERS": "-", "LOSS": "-", "RESTARTS": "0",
    }  # fmt: skip


def test_columns_show_what_the_status_says(kubectl: Kubectl, stored: Store) -> None:
    stored(RIGHT)
    world = World(local=False).running()
    world.train(1200, loss=0.123456, checkpoint_time=EPOCH).end("worker", 0)
    report(kubectl, world.plan().status)
    seen = columns(kubectl)
    assert (seen["PHASE"], seen["STEP"], seen["WORKERS"], seen["SERVERS"], seen["LOSS"]) == (
        "Restarting", "1200/20000", "2/3", "2/2", "0.1235",
    )  # fmt: skip
    assert seen["CHECKPOINT"].endswith("d")
    assert seen["AGE"]


def test_the_whole_status_is_kept(kubectl: Kubectl, stored: Store) -> None:
    stored(RIGHT)
    world = World(local=False).running()
    world.train(1200, loss=float("nan")).end("worker", 0, 1, "UserCodeRaised", "boom", range=7)
    world.settle()
    world.end("server", 1).settle()
    status = world.status
    assert status.progress is not None
    kept = read_status({"status": report(kubectl, status)})
    finite = status.progress.model_copy(update={"loss": None})
    assert kept == status.model_copy(update={"events": (), "progress": finite})


def test_the_status_of_an_older_operator_is_kept_until_a_newer_one_has_read_it(kubectl: Kubectl, stored: Store) -> None:
    stored(RIGHT)
    status = World(local=False).running().train(1200, checkpoint_time=EPOCH).kill("worker", 0).plan().status
    older = status.model_dump(by_alias=True, exclude_none=True, exclude={"events"})
    patch = json.dumps({"status": older})
    kubectl.done("patch", "dsj", "digits", "--subresource=status", "--type=merge", f"--patch={patch}")
    stored(with_spec("suspend: true"))  # a change of the spec is not refused for what stands in the status
    assert read_status(kubectl.job("digits")) == status.model_copy(update={"events": ()})


def test_scale_reads_and_writes_the_workers(kubectl: Kubectl, stored: Store) -> None:
    stored(with_spec("workers: {replicas: 2, max: 4}"))
    report(kubectl, World(local=False).running().status)
    scale = json.loads(
        kubectl.done(
            "get", "--raw", f"/apis/deepseek.dev/v1alpha1/namespaces/{kubectl.namespace}/deepseekjobs/digits/scale"
        )
    )
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 3, "selector": "deepseek.dev/job=digits,deepseek.dev/role=worker"}
    kubectl.done("scale", "dsj/digits", "--replicas=4")
    assert kubectl.job("digits")["spec"]["workers"]["replicas"] == 4
    refused = kubectl("scale", "dsj/digits", "--replicas=5")
    assert "5 is not between min (1) and max (4)" in refused.stderr


def test_explain_tells_what_the_reference_tells(kubectl: Kubectl) -> None:
    told = " ".join(kubectl.done("explain", "dsj.spec.checkpoint.storage").split())
    assert "pvc <Object> A volume that all members mount." in told
