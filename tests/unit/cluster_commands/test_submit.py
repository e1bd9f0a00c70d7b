"""`dsj run` in a cluster: what is applied, what goes along, and what of a job that is there already."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from builders import snapshots
from builders.job_server import JobServer
from builders.manifests import RIGHT
from deepseek_operator import submit as sending
from deepseek_operator.api.load import load_manifest
from deepseek_operator.api.problems import ManifestError
from deepseek_operator.api.user_code import UserCode
from deepseek_operator.cli.run import _watch
from deepseek_operator.cli.signals import Asks
from deepseek_operator.jobs_in_cluster import JobInCluster
from deepseek_operator.kube import CONFIG_MAPS, JOBS
from deepseek_operator.submit import MAX_CODE, code_map, objects

Call = Callable[..., Result]
SCRIPT = """
apiVersion: deepseek.dev/v1alpha1
kind: DeepseekJob
metadata: {name: mine}
spec:
  training: {script: train.py, epochs: 1, batchSize: 8}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job.yaml").write_text(SCRIPT)
    (tmp_path / "train.py").write_text("print(1)\n")
    (tmp_path / "data.bin").write_bytes(b"\xff\x00")
    return tmp_path


def test_what_was_given_and_nothing_else_is_applied(folder: Path) -> None:
    made = objects(load_manifest(folder / "job.yaml", cluster=True), "ml")
    assert made.code is not None
    name = made.code["metadata"]["name"]
    assert made.job == {
        "metadata": {"name": "mine", "namespace": "ml"},
        "spec": {
            "training": {"script": "train.py", "epochs": 1, "batchSize": 8, "code": {"configMap": name}},
        },
    }
    assert made.code["data"]["train.py"] == "print(1)\n"
    assert made.code["binaryData"] == {"data.bin": "/wA="}


def test_other_code_is_another_name() -> None:
    one, two = (code_map("j", "ml", UserCode({"a.py": text}), "f")["metadata"]["name"] for text in (b"1", b"2"))
    assert one != two
    assert one.startswith("j-given-code-")


@pytest.mark.parametrize(
    "files,said",
    [
        ({"a.py": b"", "pkg/b.py": b""}, "a ConfigMap has no folders, and pkg/b.py lies in one"),
        ({"a.py": b"", "w.bin": b"x" * (MAX_CODE + 1)}, "the folder holds 1.0 MB, most of it w.bin"),
    ],
)
def test_code_that_is_no_config_map(files: dict[str, bytes], said: str) -> None:
    with pytest.raises(ManifestError, match=said) as raised:
        code_map("j", "ml", UserCode({name: bytes(content) for name, content in files.items()}), "job.yaml")
    assert raised.value.exit_code == 78
    assert "spec.image" in str(raised.value)


def test_run_detached(folder: Path, server: JobServer, call: Call) -> None:
    answer = call("run", str(folder / "job.yaml"), "-n", "ml", "--detach", "-o", "json")
    assert json.loads(answer.stdout) == {"job": "mine", "namespace": "ml", "folder": "", "supervisor": None}
    (code,) = server.of(CONFIG_MAPS)
    job = server.objects[JOBS.plural, "mine"]
    assert [reference["uid"] for reference in code["metadata"].get("ownerReferences", [])] in (
        [],
        [job["metadata"]["uid"]],
    )
    assert server.writes[:2] == [f"apply configmaps {code['metadata']['name']}", "apply deepseekjobs mine"]


def test_a_job_that_is_there(folder: Path, server: JobServer, call: Call) -> None:
    file = str(folder / "job.yaml")
    call("run", file, "-n", "ml", "--detach")
    again = call("run", file, "-n", "ml", "--detach")
    assert again.exit_code == 64
    assert "error: a job mine is there already (Pending)\nhint: --resume goes on with this manifest" in again.stderr
    (folder / "train.py").write_text("print(2)\n")
    assert call("run", file, "-n", "ml", "--detach", "--resume").exit_code == 0
    (code,) = server.of(CONFIG_MAPS)
    assert code["data"]["train.py"] == "print(2)\n"
    assert server.spec("mine")["training"]["code"]["configMap"] == code["metadata"]["name"]
    before = server.objects[JOBS.plural, "mine"]["metadata"]["uid"]
    assert call("run", file, "-n", "ml", "--detach", "--replace").exit_code == 0
    assert server.objects[JOBS.plural, "mine"]["metadata"]["uid"] != before


def test_a_suspended_job_goes_on(server: JobServer, call: Call) -> None:
    server.job(snapshots.suspended().status, suspend=True)
    assert call("run", "--resume", "digits", "-n", "ml", "--detach").exit_code == 0
    assert server.spec()["suspend"] is False
    assert call("run", "--resume", "nojob", "-n", "ml", "--detach").exit_code == 66


def test_a_job_that_has_ended_does_not_go_on(server: JobServer, call: Call) -> None:
    server.job(snapshots.failed().status.model_copy(update={"members": ()}))
    answer = call("run", "--resume", "digits", "-n", "ml")
    assert answer.exit_code == 64
    assert "has failed, and a job in a cluster ends once" in answer.stderr
    assert server.writes == []


def test_two_namespaces(tmp_path: Path, server: JobServer, call: Call) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(
        SCRIPT.replace("{name: mine}", "{name: mine, namespace: other}").replace("script: train.py", "task: a:B")
    )
    assert call("run", str(file), "--detach", "--cluster").exit_code == 0
    assert server.objects[JOBS.plural, "mine"]["metadata"]["namespace"] == "other"
    answer = call("run", str(file), "--detach", "-n", "ml")
    assert answer.exit_code == 64
    assert "the manifest names the namespace other, the command ml" in answer.stderr


def test_what_only_one_machine_takes_is_told_before_anything_is_sent(server: JobServer, call: Call) -> None:
    manifest = RIGHT.rstrip() + "\n  checkpoint: {storage: {uri: ./here}}\n"
    answer = call("run", "-", "--cluster", "--detach", input=manifest)
    assert (answer.exit_code, server.writes) == (78, [])
    assert "names no store that every pod can read and write" in answer.stderr
    checked = call("validate", "-", "--cluster", input=manifest)
    assert checked.exit_code == 78
    assert call("validate", "-", input=RIGHT).exit_code == 0


@pytest.mark.parametrize("signal,code", [("interrupts", 130), ("terminated", 143)])
def test_ctrl_c_leaves_the_view_and_never_the_job(
    signal: str, code: int, server: JobServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.job(snapshots.snapshot().status)
    with Asks() as asks:
        setattr(asks, signal, 1)
        assert _watch(JobInCluster(server.api, server.objects[JOBS.plural, "digits"]), asks, "text", False) == code
    assert capsys.readouterr().out == "digits runs on: step 1200\n"
    assert server.writes == []


def test_followed_to_its_end(server: JobServer, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    server.job(snapshots.failed().status.model_copy(update={"members": ()}))
    job = JobInCluster(server.api, server.objects[JOBS.plural, "digits"])
    monkeypatch.setattr(sending, "submit", lambda *given, **more: job)
    answer = call("run", "-", "--cluster", input=RIGHT)
    assert answer.exit_code == 65
    assert "exit code 65" in answer.stdout
