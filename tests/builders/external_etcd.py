"""An etcd with TLS that is not the chart's: a pod, an authority of its own, and the Secret that the chart asks for."""

import base64
from typing import Any, Final

from builders.releases import image_names
from deepseek_operator.certificates import Authority, Pair, years
from testcluster.cluster import Cluster

SECRET: Final = "etcd-admin"
_NAME: Final = "somebodys-etcd"
_TLS: Final = "/etc/etcd/tls"


def endpoint(namespace: str) -> str:
    return f"{_NAME}.{namespace}.svc:2379"


def start(cluster: Cluster, namespace: str, *, authority_given: bool) -> Authority:
    """Returns when it answers. authority_given: ca.key is in the Secret, so that jobs may get users of their own."""
    authority = Authority.new("somebody's etcd", years(1))
    admin = _files(authority, authority.client("root", years(1)))
    if authority_given:
        admin["ca.key"] = authority.pair.key
    serving = _files(authority, authority.server("etcd", [endpoint(namespace).split(":")[0], "127.0.0.1"], years(1)))
    things = (_secret(SECRET, admin), _secret(f"{_NAME}-tls", serving), _service(), _pod(namespace))
    cluster.apply(*({**thing, "metadata": {**thing["metadata"], "namespace": namespace}} for thing in things))
    cluster.kubectl(
        "wait", f"pod/{_NAME}", f"--namespace={namespace}", "--for=condition=Ready", "--timeout=180s", timeout=200
    )
    return authority


def _files(authority: Authority, pair: Pair) -> dict[str, bytes]:
    return {"ca.crt": authority.certificate, "tls.crt": pair.certificate, "tls.key": pair.key}


def _secret(name: str, data: dict[str, bytes]) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}


def _service() -> dict[str, Any]:
    spec = {"selector": {"app": _NAME}, "ports": [{"port": 2379}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": _NAME}, "spec": spec}


def _pod(namespace: str) -> dict[str, Any]:
    repository, tag = image_names()
    command = [
        "etcd", "--data-dir=/var/lib/etcd/data", "--client-cert-auth", "--listen-client-urls=https://0.0.0.0:2379",
        f"--advertise-client-urls=https://{endpoint(namespace)}", f"--trusted-ca-file={_TLS}/ca.crt",
        f"--cert-file={_TLS}/tls.crt", f"--key-file={_TLS}/tls.key", "--listen-metrics-urls=http://0.0.0.0:2381",
    ]  # fmt: skip
    container = {
        "name": "etcd",
        "image": f"{repository}/etcd:{tag}",
        "command": command,
        "readinessProbe": {"httpGet": {"path": "/health", "port": 2381}, "periodSeconds": 1},
        "volumeMounts": [{"name": "tls", "mountPath": _TLS}, {"name": "data", "mountPath": "/var/lib/etcd"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "tls", "secret": {"secretName": f"{_NAME}-tls", "defaultMode": 0o440}},
            {"name": "data", "emptyDir": {}},
        ],
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": _NAME, "labels": {"app": _NAME}}, "spec": spec}
