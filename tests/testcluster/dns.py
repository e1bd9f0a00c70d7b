"""CoreDNS, beside the control plane: a process on the bridge's address, which is what pods get as their name server.

In most clusters it is a Deployment with a Service. Here it is none, so that no test loses its names with a node that
it kills; it answers the same names from the same API.
"""

from pathlib import Path
from typing import Final

from testcluster import daemons
from testcluster.certificates import Authority
from testcluster.commands import run
from testcluster.control_plane import group
from testcluster.layout import DOMAIN, Layout

_RIGHTS: Final = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: test-dns}
rules:
  - {apiGroups: [""], resources: [services, pods, namespaces], verbs: [list, watch]}
  - {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: test-dns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: test-dns}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: test-dns}]
"""


def start(layout: Layout, programs: Path, authority: Authority) -> daemons.Daemon:
    """Starts it; `ready` says when it has read the cluster's Services. Raises CommandFailed."""
    run(programs / "kubectl", "--kubeconfig", layout.kubeconfig, "apply", "-f", "-", given=_RIGHTS)
    client = authority.issue("dns", user="test-dns")
    kubeconfig = authority.kubeconfig(layout.certificates / "dns.kubeconfig", layout.server, client)
    corefile = layout.folder / "Corefile"
    corefile.write_text(
        f"{DOMAIN} in-addr.arpa {{\n"
        f"    bind {layout.dns}\n"
        "    errors\n"
        f"    ready {layout.dns}:8181\n"
        f"    kubernetes {DOMAIN} in-addr.arpa {{\n        kubeconfig {kubeconfig}\n        ttl 5\n    }}\n"
        "    loadbalance\n"
        "}\n"
    )
    return daemons.start(
        "coredns", [programs / "coredns", "-conf", corefile], group=group(layout), log=layout.logs / "coredns.log"
    )


def ready_url(layout: Layout) -> str:
    return f"http://{layout.dns}:8181/ready"
