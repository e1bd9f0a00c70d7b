"""What a job stored, read by a pod beside it: the pod's server is real, the port-forward a socket of this machine."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from safetensors.numpy import load_file

from builders import snapshots
from builders.checkpoints import a_job
from builders.job_server import JobServer
from builders.left_jobs import trained
from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.executors.render.parts import Owner
from deepseek_operator.kube import CONFIG_MAPS, PODS
from deepseek_operator.store_reader import reading_pod, waiting
from deepseek_runtime.checkpoint.journals import piece_path
from deepseek_runtime.checkpoint.local import LocalStore
from deepseek_runtime.contract.config import Checkpoint
from deepseek_runtime.contract.names import ANNOTATION_IMAGE, Member
from deepseek_runtime.protocol.lineage import Base, Step
from deepseek_runtime.reading import Reading

Call = Callable[..., Result]
OWNER = Owner("digits", "ml", "u-digits")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


@pytest.fixture
def stored(
    server: JobServer, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[JobServer]:
    """A job that has ended, whose store is read by a real server."""
    monkeypatch.chdir(tmp_path)
    reading = Reading(("127.0.0.1", 0), Checkpoint(uri=Path(store.uri.removeprefix("file://")).as_uri()), tmp_path)
    thread = threading.Thread(target=reading.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.port = reading.server_address[1]
    status = snapshots.succeeded().status.model_copy(update={"members": (), "generation": "g1"})
    server.job(status)
    about = {"name": OWNER.part("config-g1"), "annotations": {ANNOTATION_IMAGE: "example/runtime:1"}}
    server.put({"metadata": {**about, "uid": "u-config", "namespace": "ml"}, "data": {}}, CONFIG_MAPS)
    yield server
    reading.shutdown()
    reading.server_close()
    thread.join(5)


def test_checkpoints_and_the_model(stored: JobServer, store: LocalStore, call: Call, tmp_path: Path) -> None:
    a_job(store, {1: Base(restored=Step(1, 0))}, {1: [0, 50]})
    listed = json.loads(call("checkpoints", "digits", "-n", "ml", "-o", "json").stdout)
    assert [(one["step"], one["term"], one["current"], one["problem"]) for one in listed["checkpoints"]] == [
        (50, 1, True, None), (0, 1, True, None),
    ]  # fmt: skip
    done = call("export", "digits", "-n", "ml", "-o", "json")
    assert json.loads(done.stdout)["step"] == 50
    assert load_file(tmp_path / "digits.safetensors")["w"][0, 0] == 50
    older = call("export", "digits", "-n", "ml", "--step", "0", "-f", "old.safetensors")
    assert (older.exit_code, load_file(tmp_path / "old.safetensors")["w"][0, 0]) == (0, 0)
    missing = call("export", "digits", "-n", "ml", "--step", "7")
    assert (missing.exit_code, "holds no checkpoint of step 7; there are: 0, 50" in missing.stderr) == (66, True)
    assert stored.names(PODS) == [], "each pod was deleted"
    assert len(stored.writes) == 8
    assert list(tmp_path.glob(".*safetensors*")) == []


def test_curves_come_from_what_the_chief_stored(
    stored: JobServer, store: LocalStore, call: Call, tmp_path: Path
) -> None:
    empty = call("plot", "digits", "-n", "ml")
    assert (empty.exit_code, "digits has trained nothing yet" in empty.stderr) == (66, True)
    rows = [json.dumps(row).encode() + b"\n" for row in trained()]
    chief = Member("server", 0, 0)
    store.put(piece_path(chief, 0, "metrics"), b"".join(rows[:9]))
    store.put(piece_path(chief, len(b"".join(rows[:9])), "metrics"), b"".join(rows[9:]))
    store.put(piece_path(chief, 0), b'{"g":0}\n')  # what it applied is none of it
    assert call("plot", "digits", "-n", "ml").stdout == "digits.png: digits: 25 ranges, 2 evaluations\n"
    assert (tmp_path / "digits.png").exists()


def test_a_job_that_never_began_has_stored_nothing(server: JobServer, call: Call) -> None:
    server.job()
    answer = call("checkpoints", "digits", "-n", "ml")
    assert (answer.exit_code, server.writes) == (66, [])
    assert "digits has stored nothing yet: it has not begun" in answer.stderr


def test_a_disk_that_takes_nothing(stored: JobServer, store: LocalStore, call: Call, tmp_path: Path) -> None:
    a_job(store, {1: Base(restored=Step(1, 0))}, {1: [0]})
    (tmp_path / "file").write_text("")
    answer = call("export", "digits", "-n", "ml", "-f", "file/model.safetensors")
    assert (answer.exit_code, "cannot be written" in answer.stderr) == (66, True)


def job(**spec: Any) -> DeepseekJob:
    training = {"task": "a:B", "steps": 1, "batchSize": 1}
    return DeepseekJob.model_validate({"metadata": {"name": "digits"}, "spec": {"training": training, **spec}})


def test_the_pod_is_as_restricted_as_a_member_and_is_none() -> None:
    pod = reading_pod(job(), OWNER, config="c", image="i", pull_secrets=["p"])
    assert "deepseek.dev/job" not in pod["metadata"]["labels"], "the operator counts no pod without it"
    assert pod["metadata"]["ownerReferences"][0]["uid"] == "u-digits"
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["imagePullSecrets"] == [{"name": "p"}]
    assert spec["activeDeadlineSeconds"] <= 3600


def test_the_pod_reaches_what_its_job_stores_in() -> None:
    claim = job(checkpoint={"storage": {"pvc": {"claimName": "shared", "subPath": "x"}}})
    spec = reading_pod(claim, OWNER, config="c", image="i")["spec"]
    assert {"name": "checkpoints", "persistentVolumeClaim": {"claimName": "shared"}} in spec["volumes"]
    assert spec["containers"][0]["volumeMounts"][-1]["subPath"] == "x"
    bucket = job(checkpoint={"storage": {"uri": "s3://b/f", "secret": "keys"}})
    spec = reading_pod(bucket, OWNER, config="c", image="i")["spec"]
    assert spec["containers"][0]["envFrom"] == [{"secretRef": {"name": "keys"}}]


@pytest.mark.parametrize(
    "status,said",
    [
        ({}, ""),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, ""),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]},
            "ImagePullBackOff: no such image",
        ),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2"}]},
            "Unschedulable: 0/2",
        ),
    ],
)
def test_why_it_does_not_start(status: dict[str, Any], said: str) -> None:
    assert waiting({"status": status}) == said
