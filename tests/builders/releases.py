"""The chart installed in a test cluster, and the jobs that it runs: as people do it, by helm and kubectl."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from builders.definition import establish
from deepseek_operator.api.status import JobStatus
from deepseek_operator.api.stored_status import read_status
from testcluster import images
from testcluster.cluster import Cluster
from testcluster.layout import ROOT

CHART: Final = ROOT / "charts" / "deepseek-operator"
DIGITS: Final = ROOT / "examples" / "digits.yaml"
RELEASE: Final = "dsj"
NAME: Final = "dsj-deepseek-operator"
"""Of what the release has in its namespace."""
PATIENCE: Final = 600.0
"""Seconds after which a test gives up; says nothing about how long things should take."""

_KEYS = """\
import json, os, time
from deepseek_operator.operating import etcd_tls
from deepseek_operator.settings import read_settings
from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.membership import Unavailable
from deepseek_runtime.membership.connection import Connection
settings = read_settings([])
etcd = Connection(settings.etcd, 2.0, etcd_tls(settings))
while True:
    began = time.time()
    try:
        found = {e.key: e.value.decode() for e in etcd.list(JobKeys.root(settings.install)).entries}
    except Unavailable:
        found = None
    print(json.dumps([began, found]), flush=True)
    if not EVERY:
        break
    time.sleep(EVERY)
"""


def keys_program(every: float = 0.0) -> str:
    """For the operator's container: prints a line [time, keys of all jobs of this installation or null], once or each
    `every` seconds."""
    return _KEYS.replace("EVERY", repr(every))


def make_namespace(cluster: Cluster, name: str) -> None:
    """In which only pods of the strictest Pod Security level may run."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    cluster.kubectl("wait", "serviceaccount/default", f"--namespace={name}", "--for=create", "--timeout=30s")


class Release:
    """A release in a namespace of its own, whose jobs alone it runs."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace

    @property
    def user(self) -> str:
        """As whom the operator is known to the API server."""
        return f"system:serviceaccount:{self.namespace}:{NAME}"

    def install(self, values: Mapping[str, Any] | None = None) -> None:
        """Returns when all of it is ready. Its images must be on the nodes. The definition is applied before."""
        make_namespace(self.cluster, self.namespace)
        establish(self.cluster.kubectl)
        self.upgrade(values)

    def upgrade(self, values: Mapping[str, Any] | None = None, chart: Path = CHART) -> str:
        """What helm said, when all is ready. Values that are not given are those of `values()`."""
        file = self.cluster.layout.folder / f"values-{self.namespace}.yaml"
        file.write_text(json.dumps({**self.values(), **(values or {})}))
        return self.cluster.helm(
            "upgrade", "--install", RELEASE, chart, f"--namespace={self.namespace}", f"--values={file}", "--wait",
            "--timeout=5m", timeout=320.0,
        )  # fmt: skip

    def own_definition(self) -> None:
        """Whoever applied or installed the definition: from now on it is this release's."""
        crd = ("crd", "deepseekjobs.deepseek.dev", "--overwrite")
        owner = (f"meta.helm.sh/release-name={RELEASE}", f"meta.helm.sh/release-namespace={self.namespace}")
        self.cluster.kubectl("annotate", *crd, *owner)
        self.cluster.kubectl("label", *crd, "app.kubernetes.io/managed-by=Helm")

    def remove(self) -> None:
        """The jobs first, so that they end in good order."""
        self.kubectl("delete", "deepseekjobs", "--all", "--timeout=60s", timeout=90.0)
        self.cluster.helm("uninstall", RELEASE, f"--namespace={self.namespace}")
        self.cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")

    def kubectl(self, *words: str | Path, given: str | None = None, timeout: float = 60.0) -> str:
        return self.cluster.kubectl(f"--namespace={self.namespace}", *words, given=given, timeout=timeout)

    def get(self, *words: str) -> Any:
        return self.cluster.get(f"--namespace={self.namespace}", *words)

    def submit(self, name: str, change: Callable[[dict[str, Any]], object] = lambda spec: None) -> "Job":
        """`kubectl apply` of examples/digits.yaml under another name, its spec changed in place."""
        # Read by kubectl: to PyYAML 1e-3 is a text.
        manifest = json.loads(self.kubectl("create", "--dry-run=client", "-f", DIGITS, "--output=json"))
        manifest["metadata"] = {"name": name}
        change(manifest["spec"])
        self.kubectl("apply", "-f", "-", given=json.dumps(manifest))
        return Job(self, name)

    def leader(self) -> str:
        """The name of the operator's pod that leads."""
        holder = self.get("lease", f"deepseek-operator-{NAME}")["spec"].get("holderIdentity", "")
        for pod in self.get("pods", "--selector=app.kubernetes.io/component=operator")["items"]:
            if pod["metadata"]["uid"] in holder:
                return str(pod["metadata"]["name"])
        return ""

    def pod(self, component: str) -> str:
        """The name of a pod of the release that runs."""
        items = self.get("pods", f"--selector=app.kubernetes.io/component={component}")["items"]
        return next(str(p["metadata"]["name"]) for p in items if not p["metadata"].get("deletionTimestamp"))

    def etcd_keys(self) -> dict[str, str]:
        """Of all jobs of this release."""
        said = self.kubectl("exec", f"deployment/{NAME}", "-c", "operator", "--", "python", "-c", keys_program())
        found: dict[str, str] | None = json.loads(said)[1]
        assert found is not None, "etcd does not answer"
        return found

    def values(self) -> dict[str, Any]:
        repository, tag = image_names()
        there = {"repository": f"{repository}/etcd", "tag": tag}
        return {
            "watchNamespaces": [self.namespace],
            "crds": {"enabled": False},
            "operator": {"image": {"repository": f"{repository}/operator", "tag": tag}},
            "jobs": {"image": {"repository": f"{repository}/runtime", "tag": tag}},
            "etcd": {"image": there},
        }


class Job:
    """One job of a release."""

    def __init__(self, release: Release, name: str) -> None:
        self.release, self.name = release, name

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = self.release.get("deepseekjob", self.name)
        return found

    def status(self) -> JobStatus:
        return read_status(self.read())

    def until(
        self, true: Callable[[JobStatus], object], what: str, patience: float = PATIENCE, *, ended: bool = False
    ) -> JobStatus:
        """The first status of which that is true. Fails when it ends before (unless `ended`), or never gets there."""
        deadline = time.monotonic() + patience
        while True:
            status = self.status()
            if true(status):
                return status
            assert ended or not status.finished, f"ended before {what}: {self.told()}"
            assert time.monotonic() < deadline, f"not within {patience:g} s: {what}: {self.told()}"
            time.sleep(0.3)

    def pods(self) -> dict[str, dict[str, Any]]:
        """`<role>-<index>-<incarnation>` -> the pod, of those that are not on their way out and have not ended."""
        items = self.release.get("pods", f"--selector=deepseek.dev/job={self.name}")["items"]
        return {
            pod["metadata"]["name"].removeprefix(f"{self.name}-"): pod
            for pod in items
            if not pod["metadata"].get("deletionTimestamp") and pod["status"].get("phase") in ("Pending", "Running")
        }

    def patch(self, patch: Mapping[str, Any]) -> None:
        self.release.kubectl("patch", "deepseekjob", self.name, "--type=merge", "-p", json.dumps(patch))

    def events(self) -> list[tuple[str, str]]:
        """(reason, message), the oldest first."""
        items = self.release.get("events", f"--field-selector=involvedObject.name={self.name}")["items"]
        items.sort(key=lambda event: str(event.get("firstTimestamp")))
        return [(event["reason"], event["message"]) for event in items]

    def finished(self) -> JobStatus:
        """Its status at its end, its samples counted."""
        wait = ("wait", "--for=condition=Finished", f"deepseekjob/{self.name}", f"--timeout={PATIENCE:g}s")
        self.release.kubectl(*wait, timeout=PATIENCE + 10)
        return self.until(counted, "the samples are counted", ended=True)

    def told(self) -> str:
        """What a person would look at."""
        return self.release.kubectl("describe", "deepseekjob", self.name)[-6000:]


def step_of(status: JobStatus) -> int:
    return status.progress.step if status.progress is not None else 0


def counted(status: JobStatus) -> bool:
    """Whether the chief has told how many samples were lost and repeated, the last thing of all."""
    return status.progress is not None and status.progress.samples_counted


def image_names() -> tuple[str, str]:
    """Repository and tag of the images: those that IMAGES=repository:tag names, which are on the nodes, or our own."""
    repository, _, tag = os.environ.get("IMAGES", "").rpartition(":")
    return (repository, tag) if repository else (f"docker.io/{images.REPOSITORY}", "test")


def load_images(cluster: Cluster) -> None:
    """Builds what changed and gives it to the nodes, unless IMAGES names some that are there."""
    if not os.environ.get("IMAGES"):
        for target in images.TARGETS:
            cluster.load(images.build(target))
