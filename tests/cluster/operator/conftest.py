"""The operator as a process beside the cluster, an etcd on this machine, pods that only wait (builders.puppets)."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import Configuration

from builders.definition import establish
from builders.etcd import LocalEtcd
from builders.puppets import Puppets
from deepseek_operator.kube import Api, find_cluster
from testcluster import archives
from testcluster.cluster import Cluster

ROOT = Path(__file__).parents[3]
PATIENCE = 240.0
MEMBER = "docker.io/local/member:1"


def wait_until(true: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, f"not within {patience:g} s: {what}"
        time.sleep(0.1)


class Replica:
    """One process of the operator."""

    def __init__(self, name: str, log: Path, environment: dict[str, str], port: int) -> None:
        self.name = name
        self.port = port
        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deepseek_operator"],
                env=environment | {"DSJ_OPERATOR_IDENTITY": name},
                stderr=file,
            )

    def said(self, pattern: str) -> bool:
        return re.search(pattern, self.log.read_text()) is not None

    def leads(self) -> None:
        wait_until(lambda: self.said(r"this replica .* leads"), f"{self.name} leads\n{self.log.read_text()}")

    def get(self, path: str) -> tuple[int, str]:
        """Status (0: nobody listens yet) and body of one of its pages."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


class Place:
    """A namespace with operators that see no other."""

    def __init__(self, cluster: Cluster, namespace: str, etcd: LocalEtcd, folder: Path) -> None:
        self.cluster, self.namespace, self.etcd, self.folder = cluster, namespace, etcd, folder
        self.replicas: list[Replica] = []
        configuration: Configuration = find_cluster()
        self.api = Api(configuration)

    def operator(self, name: str, *, kubeconfig: Path | None = None, **options: str) -> Replica:
        """kubeconfig: as whom it speaks to the API server; None: as the cluster's administrator."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = {
            "watch_namespaces": self.namespace, "namespace": self.namespace, "install": self.namespace,
            "etcd": self.etcd.endpoint, "etcd_certificates": str(self.etcd.folder / "secrets"),
            "port": str(port), "image": MEMBER, "store_uri": "memory://store", "log": "text",
        }  # fmt: skip
        environment = {f"DSJ_OPERATOR_{key.upper()}": value for key, value in (settings | options).items()}
        environment |= {"PYTHONPATH": f"{ROOT}/operator:{ROOT}/runtime", "PATH": os.environ["PATH"]}
        environment |= self.cluster.environment | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})
        replica = Replica(name, self.folder / f"{name}.log", environment, port)
        self.replicas.append(replica)
        return replica

    def submit(self, name: str = "digits", **spec: Any) -> dict[str, Any]:
        job: dict[str, Any] = {
            "apiVersion": "deepseek.dev/v1alpha1",
            "kind": "DeepseekJob",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "servers": {"replicas": 2},
                "workers": {"replicas": 2},
                "training": {"task": "deepseek_runtime.tasks.digits:Digits", "steps": 1000},
                **spec,
            },
        }
        self.cluster.apply(job)
        return self.job(name)

    def job(self, name: str = "digits") -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.get("deepseekjob", name, "-n", self.namespace)
        return found

    def patch(self, patch: str, name: str = "digits") -> None:
        self.cluster.kubectl("patch", "deepseekjob", name, "-n", self.namespace, "--type=merge", "-p", patch)

    def there(self, name: str = "digits") -> bool:
        found = self.cluster.get("deepseekjobs", "-n", self.namespace)["items"]
        return any(job["metadata"]["name"] == name for job in found)

    def phase(self, wanted: str, name: str = "digits") -> None:
        def now() -> str:
            return str(self.job(name).get("status", {}).get("phase", ""))

        wait_until(lambda: now() == wanted, f"phase {wanted}, not {now()}")

    def pods(self) -> dict[str, str]:
        """Name -> uid, of those that are not on their way out."""
        items = self.cluster.get("pods", "-n", self.namespace)["items"]
        return {
            pod["metadata"]["name"]: pod["metadata"]["uid"]
            for pod in items
            if not pod["metadata"].get("deletionTimestamp")
        }

    def puppets(self, job: dict[str, Any]) -> Puppets:
        about = job["metadata"]
        return Puppets(
            self.api, self.namespace, about["name"], about["uid"],
            install=self.namespace, etcd=self.etcd.endpoint, tls=self.etcd.tls,
        )  # fmt: skip

    def close(self) -> None:
        for replica in self.replicas:
            if replica.process.poll() is None:
                replica.process.send_signal(signal.SIGCONT)
                replica.kill()
        self.api.close()


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_until


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEtcd]:
    found = LocalEtcd(tmp_path_factory.mktemp("etcd"))
    yield found
    found.kill()


@pytest.fixture(scope="module")
def definition(cluster: Cluster) -> None:
    establish(cluster.kubectl)


@pytest.fixture(scope="session")
def member_image(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    archive = tmp_path_factory.mktemp("images") / "member.tar"
    program = (cluster.programs / "probe").read_bytes()
    archives.write(archive, MEMBER, {"usr/bin/python": program}, ["/usr/bin/python"])
    cluster.load(archive)


@pytest.fixture
def place(
    cluster: Cluster,
    namespace: str,
    definition: None,
    member_image: None,
    etcd: LocalEtcd,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    monkeypatch.setenv("KUBECONFIG", str(cluster.layout.kubeconfig))
    found = Place(cluster, namespace, etcd, tmp_path)
    yield found
    found.close()
