"""What one has without this operator: an Indexed Job of Kubernetes whose pods train by DDP (_ddp.py), and its losses.

torchrun       torch elastic in each pod (c10d rendezvous at the first one): as Kubeflow's trainer makes them
indexed-job    no torchrun: a rank that fails ends, and Kubernetes starts all of them again

Three pods of one rank each, the runtime's image, checkpoints after as many samples as the job's own, in a folder that
all pods share. Each loss is measured on a Job of its own: Kubernetes' back-off grows with the failures of one.
"""

import json
import uuid
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from bench import _ddp
from bench._ranges import wait_for
from builders.releases import Release, image_names
from testcluster import volumes
from testcluster.layout import DOMAIN

RIVALS: Final = ("torchrun", "indexed-job")
WORLD: Final = 3
PORT: Final = 29400
CLASS: Final = "by-hand"
PATIENCE: Final = 300.0


@dataclass(frozen=True, slots=True)
class Loss:
    """until: seconds from the kill until the first step of a world that has a replacement; gap: the longest between two
    steps; samples: trained before, gone, and to be trained again; restarted: other pods whose training began anew."""

    until: float
    gap: float
    samples: int
    restarted: int


class PlainJob:
    """`with` it, it trains. every: steps between checkpoints."""

    def __init__(self, release: Release, rival: str, every: int) -> None:
        self._release, self._rival, self._every = release, rival, every
        self._name = f"rival-{uuid.uuid4().hex[:6]}"
        self._log = Path(release.cluster.layout.volumes) / self._name / "log.jsonl"
        self._read, self._seen = 0, list[dict[str, Any]]()

    def __enter__(self) -> "PlainJob":
        release, name = self._release, self._name
        namespace = {"name": name, "namespace": release.namespace}
        claim = {
            "accessModes": ["ReadWriteMany"], "storageClassName": CLASS, "volumeName": name,
            "resources": {"requests": {"storage": "1Gi"}},
        }  # fmt: skip
        port = [{"name": "rendezvous", "port": PORT}]
        service = {"clusterIP": "None", "selector": {"rival": name}, "publishNotReadyAddresses": True, "ports": port}
        program = Path(_ddp.__file__).read_text(encoding="utf-8")
        release.cluster.apply(
            volumes.storage_class(CLASS),
            volumes.volume(release.cluster.layout, name, "ReadWriteMany", of_class=CLASS),
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": namespace, "spec": claim},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": namespace, "data": {"ddp.py": program}},
            {"apiVersion": "v1", "kind": "Service", "metadata": namespace, "spec": service},
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": namespace, "spec": self._spec()},
        )
        return self

    def __exit__(self, *_: object) -> None:
        for kind in ("job", "service", "configmap", "persistentvolumeclaim"):
            self._release.kubectl("delete", kind, self._name, "--ignore-not-found", "--wait=false")
        self._release.cluster.kubectl("delete", "persistentvolume", self._name, "--ignore-not-found", "--wait=false")
        wait_for(lambda: None if self._pods() else True, "the rival's pods are gone", PATIENCE)

    def settled(self) -> None:
        """It has trained, and there is a checkpoint to go back to."""
        saved = self._log.with_name("checkpoint.pt")
        wait_for(
            lambda: True if saved.exists() and len(self._steps()) > 2 * self._every else None, "it trains", PATIENCE
        )

    def pod(self, index: int) -> str:
        return next(name for name, of in self._pods().items() if of == index)

    def lost(self, killed: float, index: int) -> Loss:
        """killed: when the pod of this index was. Returns when it trains again. Raises TimeoutError."""

        def again() -> float | None:
            """The first step after the victim's own successor has begun: without it there is no world."""
            since = max((row["time"] for row in self._starts(killed) if row["pod"] == index), default=None)
            return None if since is None else next((at for at, _ in self._steps() if at > since), None)

        end = wait_for(again, "the rival trains again", PATIENCE)
        starts = [row for row in self._starts(killed) if row["time"] <= end]
        before = max((step for at, step in self._steps() if at <= starts[0]["time"]), default=0)
        times = sorted(at for at, _ in self._steps() if at <= end)
        gap = max((b - a for a, b in pairwise(times) if b > killed), default=0.0)
        gone = max(0, before - starts[-1]["step"])
        others = {row["pod"] for row in starts} - {index}
        return Loss(end - killed, gap, gone * WORLD * _ddp.BATCH, len(others))

    def rate(self) -> float:
        """Samples a second, over the newest 5 s."""
        steps = self._steps()
        newest = steps[-1]
        earlier = next(one for one in steps if one[0] >= newest[0] - 5.0)
        return (newest[1] - earlier[1]) * WORLD * _ddp.BATCH / max(newest[0] - earlier[0], 1e-3)

    def _pods(self) -> dict[str, int]:
        """Name -> index, of those that are not on their way out."""
        found = self._release.get("pods", f"--selector=rival={self._name}")["items"]
        return {
            pod["metadata"]["name"]: int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])
            for pod in found
            if not pod["metadata"].get("deletionTimestamp") and pod["status"].get("phase") in ("Pending", "Running")
        }

    def _rows(self) -> list[dict[str, Any]]:
        """What is new is read, and no more: whoever looks often must not take the processors from what is measured."""
        try:
            with self._log.open("rb") as file:
                file.seek(self._read)
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        self._seen += [json.loads(line) for line in whole.splitlines()]
        return self._seen

    def _starts(self, since: float) -> list[dict[str, Any]]:
        return [row for row in self._rows() if row.get("event") == "start" and row["time"] > since]

    def _steps(self) -> list[tuple[float, int]]:
        return [(row["time"], row["step"]) for row in self._rows() if "event" not in row]

    def _spec(self) -> dict[str, Any]:
        name = self._name
        # All of its name: the one by which its pod knows itself, so torchrun there never takes it for another machine.
        first = f"{name}-0.{name}.{self._release.namespace}.svc.{DOMAIN}"
        words = ["python", "/etc/rival/ddp.py"]
        if self._rival == "torchrun":
            words = [
                "python", "-m", "torch.distributed.run", f"--nnodes={WORLD}", "--nproc-per-node=1", "--max-restarts=20",
                "--rdzv-backend=c10d", f"--rdzv-endpoint={first}:{PORT}", f"--rdzv-id={name}", "/etc/rival/ddp.py",
            ]  # fmt: skip
        index = {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}
        environment = {
            "FOLDER": "/shared", "EVERY": str(self._every), "STEPS": "10000000", "OMP_NUM_THREADS": "1", "HOME": "/tmp",
            "MASTER_ADDR": first, "MASTER_PORT": str(PORT), "WORLD_SIZE": str(WORLD),
        }  # fmt: skip
        container = {
            "name": "rank",
            "image": image(),
            "command": words,
            "env": [{"name": key, "value": value} for key, value in environment.items()]
            + [{"name": "RANK", "valueFrom": index}],
            "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [
                {"name": "program", "mountPath": "/etc/rival"},
                {"name": "shared", "mountPath": "/shared"},
                {"name": "tmp", "mountPath": "/tmp"},
            ],
        }
        pod = {
            # As trainers have it: a killed container is started again at once in its pod; a pod that fails is replaced
            # after ten seconds, then twenty.
            "restartPolicy": "OnFailure",
            "subdomain": name,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [
                {"name": "program", "configMap": {"name": name}},
                {"name": "shared", "persistentVolumeClaim": {"claimName": name}},
                {"name": "tmp", "emptyDir": {}},
            ],
        }  # fmt: skip
        return {
            "completions": WORLD, "parallelism": WORLD, "completionMode": "Indexed", "backoffLimit": 100,
            "template": {"metadata": {"labels": {"rival": name}}, "spec": pod},
        }  # fmt: skip


def image() -> str:
    repository, tag = image_names()
    return f"{repository}/runtime:{tag}"
