"""`dsj`, `kubectl dsj` and the Python client against a real cluster, with the rights of a person who may edit."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.numpy import load_file

from builders.releases import DIGITS, Release
from testcluster.layout import ROOT

SCRIPT = ROOT / "examples" / "script"
LOOP = "for x, y in session:\n"


@dataclass(frozen=True)
class Person:
    """Somebody with a kubeconfig."""

    kubeconfig: Path
    release: Release
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.release.cluster.programs}:{Path(sys.executable).parent}:/usr/bin:/bin"
        return {
            "KUBECONFIG": str(self.kubeconfig), "PATH": path, "HOME": str(self.folder),
            "PYTHONPATH": f"{ROOT}/operator:{ROOT}/runtime",
        }  # fmt: skip

    def dsj(self, *words: str | Path, timeout: float = 300.0) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "deepseek_operator.cli.main", *map(str, words), "-n", self.release.namespace]
        return self._run(command, timeout)

    def plugin(self, *words: str) -> "subprocess.CompletedProcess[str]":
        kubectl = self.release.cluster.programs / "kubectl"
        return self._run([str(kubectl), "dsj", *words, "-n", self.release.namespace], 60.0)

    def done(self, *words: str | Path) -> str:
        """What it wrote; fails when it fails."""
        answer = self.dsj(*words)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    def json(self, *words: str | Path) -> Any:
        return json.loads(self.done(*words, "-o", "json"))

    def _run(self, command: list[str], timeout: float) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=timeout
        )


def person(release: Release, name: str, folder: Path, role: str = "") -> Person:
    """A ServiceAccount of the namespace with that role there, and its kubeconfig."""
    release.kubectl("create", "serviceaccount", name)
    if role:
        account = f"--serviceaccount={release.namespace}:{name}"
        release.kubectl("create", "rolebinding", name, f"--clusterrole={role}", account)
    config = yaml.safe_load(release.cluster.layout.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": release.kubectl("create", "token", name).strip()}
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config))
    return Person(file, release, folder)


@pytest.fixture(scope="module")
def ann(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """May edit in the namespace of the jobs, and nothing else anywhere."""
    return person(release, "ann", tmp_path_factory.mktemp("ann"), "edit")


@pytest.fixture(scope="module")
def script(ann: Person) -> Iterator[str]:
    """The script of the examples, run to its end."""
    job = ann.dsj("run", SCRIPT / "job.yaml", "--name", "mine")
    assert job.returncode == 0, job.stdout + job.stderr
    assert "Succeeded" in job.stdout
    yield "mine"
    ann.dsj("delete", "mine")


@pytest.fixture(scope="module")
def running(ann: Person) -> Iterator[str]:
    manifest = yaml.safe_load(DIGITS.read_text().replace("1e-3", "0.001"))
    manifest["spec"]["training"]["steps"] = 1_000_000
    file = ann.folder / "long.yaml"
    file.write_text(yaml.safe_dump(manifest))
    ann.done("run", file, "--name", "long", "--detach")
    ann.done("wait", "long", "--for", "running", "--timeout", "240")
    yield "long"
    ann.dsj("stop", "long")
    ann.dsj("delete", "long")


def test_a_script_goes_along_and_its_model_comes_back(ann: Person, script: str) -> None:
    saved = ann.json("checkpoints", script)["checkpoints"]
    assert saved
    said = ann.json("export", script)
    assert said["step"] == saved[0]["step"]
    assert len(load_file(ann.folder / "mine.safetensors")) == said["tensors"]
    drawn = ann.json("plot", script)
    assert drawn["jobs"][0]["step"] == said["step"]
    assert (ann.folder / "mine.png").exists()
    readers = ann.release.get("pods", "--selector=deepseek.dev/part=reader")["items"]
    assert [pod for pod in readers if not pod["metadata"].get("deletionTimestamp")] == []
    reasons = [event["reason"] for event in ann.json("events", script)["events"]]
    assert (reasons[0], reasons[-1]) == ("Created", "Succeeded")


def test_what_can_be_seen_and_asked_of_a_job_that_trains(ann: Person, running: str) -> None:
    assert ann.json("why", running)["reason"] == "Training"
    shown = ann.json("status", running)
    assert (shown["phase"], shown["namespace"]) == ("Running", ann.release.namespace)
    assert ann.plugin("status", running).stdout.splitlines()[0].split()[0] == running
    assert f"kubectl dsj -n {ann.release.namespace} watch long" in ann.plugin("status", running).stderr
    said = [json.loads(line) for line in ann.done("logs", running, "--tail", "5", "-o", "json").splitlines()]
    members = {line["member"] for line in said}
    assert {"server-0-0", "server-1-0"} < members, members  # and a worker: one is enough to run
    ann.done("scale", running, "--workers", "2")
    assert ann.release.get("deepseekjob", running)["spec"]["workers"]["replicas"] == 2
    assert ann.dsj("scale", running, "--workers", "99").returncode == 64
    assert ann.dsj("delete", running).returncode == 1
    assert ann.dsj("run", ann.folder / "long.yaml", "--name", running).returncode == 64


def test_stopped_and_resumed_with_its_step(ann: Person, running: str) -> None:
    stopped = ann.json("stop", running)
    assert stopped["phase"] == "Suspended"
    assert ann.dsj("wait", running).returncode == 75
    ann.done("run", "--resume", running, "--detach")
    ann.done("wait", running, "--for", "running", "--timeout", "240")
    assert ann.json("status", running)["status"]["progress"]["step"] >= stopped["step"]


def test_a_script_that_raises_ends_the_command_and_leaves_its_words(ann: Person) -> None:
    code = ann.folder / "code"
    code.mkdir()
    (code / "job.yaml").write_text((SCRIPT / "job.yaml").read_text())
    text = (SCRIPT / "train.py").read_text()
    broken = text.replace(LOOP, f'{LOOP}    raise KeyError("label")\n', 1)
    assert broken != text
    (code / "train.py").write_text(broken)
    ended = ann.dsj("run", code / "job.yaml", "--name", "raises")
    assert ended.returncode == 65, ended.stdout + ended.stderr
    failure = ann.json("why", "raises")["lastFailure"]
    assert (failure["role"], "label" in failure["message"]) == ("worker", True)
    said = ann.done("logs", "raises", "--role", "worker", "--index", str(failure["index"]))
    assert "KeyError" in said
    ann.done("delete", "raises")
    assert ann.dsj("status", "raises").returncode == 66


def test_the_same_four_lines_of_python(ann: Person, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ann.environment.items():
        monkeypatch.setenv(name, value)
    from deepseek_operator import attach, run

    job = run("deepseek_runtime.tasks.tally:Tally", name="four", epochs=1, batch_size=16, workers=2,
              spec={"training": {"optimizer": {"name": "sgd", "lr": 1}, "update": {"weight": "one"}}},
              cluster=True, namespace=ann.release.namespace)  # fmt: skip
    assert any("worker-0-0" in line for line in job.logs(follow=True))
    result = job.result(timeout=300)
    assert load_file(result.model)
    assert result.steps == job.status().progress.steps  # type: ignore[union-attr]
    assert attach(script, cluster=True, namespace=ann.release.namespace).phase == "Succeeded"
    ann.done("delete", "four")


def test_who_may_nothing_is_told_what(release: Release, tmp_path: Path) -> None:
    eve = person(release, "eve", tmp_path)
    answer = eve.dsj("jobs")
    assert (answer.returncode, answer.stdout) == (77, "")
    user = f"system:serviceaccount:{release.namespace}:eve"
    assert f"error: {user} may not list deepseekjobs in the namespace {release.namespace}\n" in answer.stderr


def test_a_cluster_that_does_not_answer(ann: Person, tmp_path: Path) -> None:
    config = yaml.safe_load(ann.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    answer = ann.dsj("jobs", "--kubeconfig", tmp_path / "config.yaml")
    assert (answer.returncode, answer.stderr.count("\n")) == (69, 2)
