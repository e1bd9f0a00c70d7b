"""etcd, API server, controllers and scheduler: on this machine's own network, listening on the bridge's address."""

import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from deepseek_operator.executors import etcd
from testcluster import daemons
from testcluster.certificates import ADMINS, Authority, Pair
from testcluster.layout import DOMAIN, Layout

NODE_LEASE: Final = 40
"""Seconds: Kubernetes' default. A kubelet renews it at a quarter of that."""

GRACE: Final = 50
"""Seconds after which a silent node is given up for lost: Kubernetes' default."""

_AUDIT_POLICY: Final = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    verbs: [get, list, watch]
  - level: None
    users: [system:apiserver]
  - level: None
    userGroups: [system:nodes]
    resources: [{group: coordination.k8s.io}]
  # Never the content of these.
  - level: Metadata
    resources: [{group: "", resources: [secrets, configmaps, serviceaccounts/token]}, {group: authentication.k8s.io}]
  # What pods write, with its content: the operator's writes are counted, and looked at when they are too many.
  - level: Request
    userGroups: [system:serviceaccounts]
  - level: Metadata
"""


def group(layout: Layout) -> str:
    return f"{layout.name}/control"


def start(layout: Layout, programs: Path, authority: Authority, *, grace: int) -> None:
    """Starts all four, on an empty etcd; returns when they are ready. Raises NotReady, EtcdMissing."""
    ports = etcd.choose_ports()
    _start_etcd(layout, ports)
    admin = authority.issue("admin", user="admin", group=ADMINS)
    authority.kubeconfig(layout.kubeconfig, layout.server, admin)
    tokens = authority.signing_key("tokens")
    _start_server(layout, programs, authority, admin, tokens, ports.endpoint)
    _start_followers(layout, programs, authority, tokens, grace)


def answers(url: str, authority: Path | None = None, client: Pair | None = None) -> bool:
    """Whether `url` is answered with 200, by one whom `authority` knows (default: by anybody)."""
    context = ssl.create_default_context(cafile=authority)
    if authority is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if client is not None:
        context.load_cert_chain(client.certificate, client.key)
    try:
        with urllib.request.urlopen(url, timeout=5, context=context) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _start_etcd(layout: Layout, ports: etcd.Ports) -> None:
    """On loopback, where no pod reaches it. Nothing is synced to disk: it ends with the cluster."""
    client, peer = f"http://{ports.endpoint}", f"http://{etcd.HOST}:{ports.peer}"
    daemon = daemons.start(
        "etcd",
        [
            etcd.find_binary(),
            "--name=test",
            f"--data-dir={layout.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=test={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ],
        group=group(layout),
        log=layout.logs / "etcd.log",
    )
    daemon.await_ready(lambda: answers(f"{client}/health"))


def _start_server(
    layout: Layout, programs: Path, authority: Authority, admin: Pair, tokens: Path, etcd_endpoint: str
) -> None:
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}")
    serving = authority.issue(
        "apiserver",
        user="kube-apiserver",
        hosts=(*names, "localhost", "127.0.0.1", layout.gateway, layout.kubernetes_service),
    )
    to_kubelets = authority.issue("apiserver-kubelet", user="kube-apiserver-kubelet-client", group=ADMINS)
    policy = layout.folder / "audit-policy.yaml"
    policy.write_text(_AUDIT_POLICY)
    server = daemons.start(
        "kube-apiserver",
        [
            programs / "kube-apiserver",
            f"--etcd-servers=http://{etcd_endpoint}",
            f"--bind-address={layout.gateway}",
            f"--advertise-address={layout.gateway}",
            "--secure-port=6443",
            f"--service-cluster-ip-range={layout.services}",
            f"--client-ca-file={authority.certificate}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--kubelet-client-certificate={to_kubelets.certificate}",
            f"--kubelet-client-key={to_kubelets.key}",
            f"--kubelet-certificate-authority={authority.certificate}",
            # By default it asks by name, which nobody here resolves.
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
            f"--service-account-key-file={tokens}",
            f"--service-account-signing-key-file={tokens}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            # As clusters have it: that a pod is not privileged is then the work of Pod Security and of our allow-list.
            "--allow-privileged=true",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={layout.audit_log}",
            "--audit-log-maxsize=500",
            "--profiling=false",
        ],
        group=group(layout),
        log=layout.logs / "kube-apiserver.log",
    )
    server.await_ready(lambda: answers(f"{layout.server}/readyz", authority.certificate, admin), timeout=90)


def _start_followers(layout: Layout, programs: Path, authority: Authority, tokens: Path, grace: int) -> None:
    """The controllers and the scheduler, which follow the API server."""
    arguments = {
        "kube-controller-manager": [
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={tokens}",
            f"--root-ca-file={authority.certificate}",
            f"--cluster-signing-cert-file={authority.certificate}",
            f"--cluster-signing-key-file={authority.pair.key}",
            f"--node-monitor-grace-period={grace}s",
            f"--node-monitor-period={min(5, grace / 5):g}s",
        ],
        "kube-scheduler": [],
    }
    ports = {"kube-controller-manager": 10257, "kube-scheduler": 10259}
    for name, special in arguments.items():
        client = authority.issue(name, user=f"system:{name}", hosts=(layout.gateway,))
        kubeconfig = authority.kubeconfig(layout.certificates / f"{name}.kubeconfig", layout.server, client)
        daemon = daemons.start(
            name,
            [
                programs / name,
                f"--kubeconfig={kubeconfig}",
                f"--authentication-kubeconfig={kubeconfig}",
                f"--authorization-kubeconfig={kubeconfig}",
                f"--bind-address={layout.gateway}",
                f"--tls-cert-file={client.certificate}",
                f"--tls-private-key-file={client.key}",
                "--leader-elect=false",
                "--profiling=false",
                *special,
            ],
            group=group(layout),
            log=layout.logs / f"{name}.log",
        )
        url = f"https://{layout.gateway}:{ports[name]}/healthz"
        daemon.await_ready(lambda url=url: answers(url, authority.certificate))  # type: ignore[misc]
