"""A node: its own containerd, kubelet and kube-proxy, in a network and a mount namespace of its own.

In its mount namespace /run is empty at each start, as after a boot; its disk is a folder of the cluster's. With the
last process of the node the namespace goes, and every mount in it: nothing of a killed node needs to be unmounted.
"""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml

from testcluster import cgroups, daemons, network
from testcluster.archives import PAUSE
from testcluster.certificates import Authority
from testcluster.commands import CommandFailed, run, succeeds
from testcluster.layout import DOMAIN, Layout

_SOCKET: Final = "/run/containerd/containerd.sock"
_DISK: Final = ("/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni", "/var/log/pods", "/var/log/containers")

# The arguments: the node's disk, the folder that holds the volumes, the command that goes on in this namespace.
_BOOT: Final = f"""\
set -e
disk=$0 volumes=$1; shift
mount -t tmpfs -o mode=755 tmpfs /run
for folder in {" ".join(_DISK)} /var/lib/volumes; do
    mkdir -p "$folder" "$disk$folder"
    if [ "$folder" = /var/lib/volumes ]; then mount --bind "$volumes" "$folder"
    else mount --bind "$disk$folder" "$folder"; fi
done
exec "$@"
"""


class Node:
    """One node of the cluster of `layout`, running or not."""

    def __init__(self, layout: Layout, name: str, programs: Path) -> None:
        self._layout = layout
        self._programs = programs
        self.name = name
        self._disk = layout.node_data(name)

    @property
    def address(self) -> str:
        return self._layout.node_address(self.name)

    @property
    def _group(self) -> str:
        """Of all processes of the node, those of its pods included."""
        return f"{self._layout.name}/{self.name}"

    def configure(self, authority: Authority, lease: int) -> None:
        """Writes what its programs read. `lease`: seconds; the kubelet shows itself alive at a quarter of them."""
        certificates = self._disk / "certificates"
        kubelet = authority.issue(
            f"kubelet-{self.name}",
            user=f"system:node:{self.name}",
            group="system:nodes",
            hosts=(self.name, self.address),
        )
        proxy = authority.issue(f"proxy-{self.name}", user="system:kube-proxy")
        authority.kubeconfig(certificates / "kubelet.kubeconfig", self._layout.server, kubelet)
        authority.kubeconfig(certificates / "proxy.kubeconfig", self._layout.server, proxy)
        settings = {
            "authentication": {"x509": {"clientCAFile": str(authority.certificate)}, "anonymous": {"enabled": False}},
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(kubelet.certificate),
            "tlsPrivateKeyFile": str(kubelet.key),
            "containerRuntimeEndpoint": f"unix://{_SOCKET}",
            "clusterDNS": [self._layout.dns],
            "clusterDomain": DOMAIN,
            # Pods inherit none of this machine's search domains.
            "resolvConf": "",
            # All kubelets share one tree of cgroups: each starts from a folder of its own.
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._group}",
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "nodeLeaseDurationSeconds": lease,
            "nodeStatusUpdateFrequency": f"{max(1, lease // 4)}s",
            # The disk is this machine's, and how full it is is none of the node's business.
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
        }
        self._write("kubelet.yaml", _document("kubelet.config.k8s.io/v1beta1", "KubeletConfiguration", settings))
        self._write("containerd.toml", _containerd(self._disk))
        plugin = {
            "type": "ptp",
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": self._layout.node_pods(self.name)}]],
                "routes": [{"dst": "0.0.0.0/0"}],
                "dataDir": "/run/cni",
            },
        }
        network_list = {"cniVersion": "1.0.0", "name": "pods", "plugins": [plugin]}
        self._write("cni/pods.conflist", json.dumps(network_list, indent=2))

    def start(self) -> None:
        """Boots it: returns when its containerd answers; when it is Ready is the API's to say. Raises NotReady."""
        network.plug_in(self._layout, self.name)
        cgroups.make(self._group)
        boot = ["unshare", "--mount", "sh", "-c", _BOOT, str(self._disk), str(self._layout.volumes)]
        containerd = self._launch(
            ["containerd", "--config", self._disk / "containerd.toml"],
            within=[*network.enter(self._layout, self.name), *boot],
        )
        # sh -> nsenter -> unshare -> sh -> containerd are one process: each became the next.
        # Looked for first: a client that finds no socket tries again only after ten seconds.
        socket = Path(f"/proc/{containerd.pid}/root{_SOCKET}")
        inside = self._inside(containerd.pid)
        containerd.await_ready(lambda: socket.exists() and succeeds(*inside, *_ctr("version"), timeout=20))
        for image in sorted((self._layout.folder / "images").glob("*.tar")):
            self._load(containerd.pid, image)
        self._launch(
            [
                self._programs / "kubelet",
                f"--config={self._disk / 'kubelet.yaml'}",
                f"--kubeconfig={self._disk / 'certificates' / 'kubelet.kubeconfig'}",
                f"--node-ip={self.address}",
                f"--hostname-override={self.name}",
            ],
            within=inside,
        )
        self._launch(
            [
                self._programs / "kube-proxy",
                "--proxy-mode=nftables",
                f"--kubeconfig={self._disk / 'certificates' / 'proxy.kubeconfig'}",
                f"--cluster-cidr={self._layout.all_pods}",
                f"--hostname-override={self.name}",
                f"--bind-address={self.address}",
                # It may not change what the whole machine has.
                "--conntrack-max-per-core=0",
                "--conntrack-tcp-timeout-established=0",
                "--conntrack-tcp-timeout-close-wait=0",
            ],
            within=inside,
        )

    def kill(self) -> None:
        """As if its power failed: nothing comes from it any more, every process of it and of its pods is gone."""
        network.unplug(self._layout, self.name)
        daemons.end(self._group)

    def running(self) -> bool:
        return bool(cgroups.processes(self._group))

    def load(self, archive: Path) -> None:
        """Gives it the images of an OCI archive. Raises CommandFailed."""
        self._load(self._containerd(), archive)

    def images(self) -> list[str]:
        """The names of the images that it has."""
        return run(*self._inside(self._containerd()), *_ctr("images", "list", "--quiet")).split()

    def processes(self, container: str) -> list[int]:
        """The ids, on this machine, of the processes of a container (its id, less `containerd://`); its main first."""
        tasks = run(*self._inside(self._containerd()), *_ctr("tasks", "list")).splitlines()[1:]
        main = next((int(pid) for task, pid, *_ in map(str.split, tasks) if task == container), None)
        if main is None:
            raise CommandFailed(f"{self.name} runs no container {container}")
        listed = run(*self._inside(self._containerd()), *_ctr("tasks", "ps", container)).splitlines()[1:]
        return sorted({int(line.split()[0]) for line in listed if line.split()}, key=lambda pid: pid != main)

    def signal(self, container: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal to the main process of a container, from outside, past whatever it does about signals."""
        os.kill(self.processes(container)[0], number)

    def command(self, *words: str | Path) -> list[str]:
        """The command that runs `words` on the node: in its network and with its files."""
        return [*self._inside(self._containerd()), *map(str, words)]

    def _containerd(self) -> int:
        try:
            pid = int((self._disk / "containerd.pid").read_text())
            if pid in cgroups.processes(self._group):
                return pid
        except (FileNotFoundError, ValueError):
            pass
        raise CommandFailed(f"{self.name} is not running")

    def _inside(self, containerd: int) -> list[str]:
        return ["nsenter", f"--target={containerd}", "--net", "--mount"]

    def _launch(self, command: Sequence[str | Path], within: Sequence[str]) -> daemons.Daemon:
        name = Path(command[0]).name
        log = self._layout.logs / f"{self.name}-{name}.log"
        daemon = daemons.start(name, command, group=f"{self._group}/system", log=log, within=within)
        (self._disk / f"{name}.pid").write_text(str(daemon.pid))
        return daemon

    def _load(self, containerd: int, archive: Path) -> None:
        run(*self._inside(containerd), *_ctr("images", "import", str(archive)), timeout=600)

    def _write(self, name: str, content: str) -> None:
        file = self._disk / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def _ctr(*words: str) -> list[str]:
    return ["ctr", "--address", _SOCKET, "--namespace", "k8s.io", *words]


def _document(version: str, kind: str, settings: dict[str, object]) -> str:
    return yaml.safe_dump({"apiVersion": version, "kind": kind, **settings}, sort_keys=False)


def _containerd(disk: Path) -> str:
    # restrict_oom_score_adj: in a sandbox without CAP_SYS_RESOURCE runc may not lower it, and no pod would start.
    return f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{disk / "cni"}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""
