"""A whole cluster: up, down, and what tests do with one that is up."""

import fcntl
import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from testcluster import archives, audit, binaries, control_plane, daemons, dns, network
from testcluster.certificates import Authority
from testcluster.commands import CommandFailed, run
from testcluster.layout import Layout
from testcluster.node import Node

Say = Callable[[str], None]


class AlreadyUp(Exception):
    """The cluster of this number is up, and is another than the one asked for. The message says what to do."""


class Cluster:
    """A cluster that is up."""

    def __init__(self, layout: Layout, programs: Path, grace: int) -> None:
        self.layout = layout
        self.programs = programs
        self.grace = grace
        """Seconds after which a silent node is given up for lost."""
        self.nodes = {name: Node(layout, name, programs) for name in layout.node_names}

    @property
    def environment(self) -> dict[str, str]:
        """What kubectl and helm need to find this cluster."""
        return {"KUBECONFIG": str(self.layout.kubeconfig)}

    def kubectl(self, *words: str | Path, given: str | None = None, timeout: float = 60.0) -> str:
        """What kubectl wrote; `given` is its stdin. Raises CommandFailed."""
        return run(self.programs / "kubectl", *words, given=given, timeout=timeout, environment=self.environment)

    def helm(self, *words: str | Path, timeout: float = 180.0) -> str:
        """What helm wrote. Raises CommandFailed."""
        return run(self.programs / "helm", *words, timeout=timeout, environment=self.environment)

    def apply(self, *things: dict[str, Any]) -> None:
        """`kubectl apply` of these objects."""
        self.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(things)}))

    def get(self, *words: str) -> Any:
        """What `kubectl get` shows of one object or of a list, as JSON."""
        return json.loads(self.kubectl("get", *words, "--output=json"))

    def load(self, archive: Path) -> None:
        """Gives every node that runs the images of an OCI archive; a gigabyte takes a minute or so."""
        there = [node for node in self.nodes.values() if node.running()]
        with ThreadPoolExecutor(max_workers=len(there) or 1) as loading:
            list(loading.map(lambda node: node.load(archive), there))

    def ready_nodes(self) -> set[str]:
        """The names of the nodes that are Ready."""
        return {
            node["metadata"]["name"]
            for node in self.get("nodes")["items"]
            if any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ()))
        }

    def await_nodes(self, names: Sequence[str] = (), timeout: float = 120.0) -> None:
        """Returns when these nodes (default: all) are Ready. Raises CommandFailed after `timeout` seconds."""
        wanted = set(names or self.nodes)
        deadline = time.monotonic() + timeout
        while not wanted <= (ready := self.ready_nodes()):
            if time.monotonic() > deadline:
                raise CommandFailed(f"not Ready within {timeout:g} s: {', '.join(sorted(wanted - ready))}")
            time.sleep(0.3)

    def signal(self, namespace: str, pod: str, container: str = "", number: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal to the main process of a pod's container (default: its first), past Kubernetes."""
        found = self.get("pod", pod, f"--namespace={namespace}")
        statuses = found["status"]["containerStatuses"]
        status = next(status for status in statuses if container in ("", status["name"]))
        self.nodes[found["spec"]["nodeName"]].signal(status["containerID"].removeprefix("containerd://"), number)

    def writes(self, **which: Any) -> list[audit.Write]:
        """What was written to the API server: see `audit.writes` for which can be asked for."""
        return audit.writes(self.layout.audit_log, **which)


def attach(layout: Layout) -> Cluster | None:
    """The cluster of this number that this checkout has up, whatever its size is; None when there is none."""
    try:
        notes = json.loads((layout.folder / "cluster.json").read_text())
    except FileNotFoundError:
        return None
    cluster = Cluster(replace(layout, nodes=notes["nodes"]), Path(notes["programs"]), notes["grace"])
    try:
        cluster.kubectl("get", "--raw=/readyz", "--request-timeout=5s", timeout=20)
    except CommandFailed:
        return None
    return cluster


def up(layout: Layout, *, grace: int = control_plane.GRACE, say: Say = print) -> Cluster:
    """The cluster, started unless it is up already. What is left of one that crashed is removed first.

    Raises AlreadyUp when one of the same number is up that is not as asked for, CommandFailed, NotReady, GoMissing,
    EtcdMissing. After a failure nothing is left running; the logs are kept.
    """
    programs = binaries.build_missing(say)
    with _alone(layout):
        there = attach(layout)
        if there is not None:
            if (there.layout.nodes, there.grace) != (layout.nodes, grace):
                raise AlreadyUp(
                    f"a cluster of {there.layout.nodes} nodes with a grace of {there.grace} s is up, not of "
                    f"{layout.nodes} with {grace} s: make cluster-down first"
                )
            return there
        if _somebody_answers(layout):
            raise AlreadyUp(
                f"another checkout has cluster {layout.number} up: make cluster-down there, or take another number "
                "(CLUSTER=1)"
            )
        _remove(layout)
        shutil.rmtree(layout.logs, ignore_errors=True)
        try:
            return _start(layout, programs, grace, say)
        except BaseException:
            _remove(layout)
            raise


@contextmanager
def found_or_started(
    layout: Layout, *, grace: int = control_plane.GRACE, say: Say = print
) -> Iterator[tuple[Cluster, bool]]:
    """The cluster that is up, which stays up (True); else one of our own, which is removed in the end (False).

    Raises what `up` raises: whatever it found in the way, another checkout's cluster for one, is left as it is.
    """
    there = attach(layout)
    if there is not None:
        yield there, True
        return
    there = up(layout, grace=grace, say=say)
    try:
        yield there, False
    finally:
        down(layout)


def down(layout: Layout) -> None:
    """Removes the cluster of this number, whatever is left of it: processes, namespaces, bridge, disks. Logs stay."""
    with _alone(layout):
        _remove(layout)


def _start(layout: Layout, programs: Path, grace: int, say: Say) -> Cluster:
    for folder in (layout.folder, layout.logs, layout.volumes):
        folder.mkdir(parents=True, exist_ok=True)
    archives.write_small_images(layout.folder / "images", programs)
    binaries.link(programs, layout.programs)
    cluster = Cluster(layout, programs, grace)
    network.up(layout)
    authority = Authority(layout.certificates)
    say(f"starting etcd, API server, controllers and scheduler of Kubernetes {binaries.KUBERNETES}")
    control_plane.start(layout, programs, authority, grace=grace)
    names = dns.start(layout, programs, authority)
    # Of the grace, so that a node that lives has several chances to say so.
    lease = min(control_plane.NODE_LEASE, max(4, grace * 4 // 5))
    for node in cluster.nodes.values():
        say(f"starting {node.name} ({node.address})")
        node.configure(authority, lease)
        node.start()
    names.await_ready(lambda: control_plane.answers(dns.ready_url(layout)))
    say("waiting until all nodes are Ready")
    cluster.await_nodes()
    # Until it is there no pod can be made.
    cluster.kubectl("wait", "serviceaccount/default", "--for=create", "--timeout=30s")
    notes = {"nodes": layout.nodes, "grace": grace, "programs": str(programs)}
    (layout.folder / "cluster.json").write_text(json.dumps(notes))
    return cluster


def _somebody_answers(layout: Layout) -> bool:
    # Without a bridge of our own the address could be anybody's.
    return Path("/sys/class/net", layout.name).exists() and control_plane.answers(f"{layout.server}/readyz")


def _remove(layout: Layout) -> None:
    daemons.end(layout.name)
    network.down(layout)
    if layout.folder.exists():
        for entry in layout.folder.iterdir():
            if entry == layout.logs:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """Whoever starts or removes the same cluster at the same time waits."""
    with open(f"/run/{layout.name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
