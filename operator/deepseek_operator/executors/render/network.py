"""Who may talk to the members of a job, and to whom they may talk: one NetworkPolicy a job."""

from urllib.parse import urlsplit

from deepseek_operator.api.config import restored_from
from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.executors.render.parts import Manifest, Owner, job_labels, part_metadata
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.executors.render.storage import Storage
from deepseek_runtime.contract.names import SERVER_PORT

DNS = 53
_PORTS = {"http": 80, "webdav": 80, "dav": 80, "sftp": 22, "ssh": 22, "hdfs": 8020}


def network_policy(job: DeepseekJob, owner: Owner, settings: Rendering, storage: Storage) -> Manifest:
    """In: the job's own members, to the servers' port. Out: these, DNS, etcd, the storage, and `open_ports`.

    By ports, not by addresses: etcd and stores are reached through Services and names, which a policy cannot name.
    """
    members = {"podSelector": {"matchLabels": job_labels(owner)}}
    ports = {*settings.open_ports, *storage_ports(job, storage), *map(_port_of_endpoint, settings.etcd)}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": part_metadata(owner, "members", "network"),
        "spec": {
            "podSelector": {"matchLabels": job_labels(owner)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [members], "ports": [_tcp(SERVER_PORT)]}],
            "egress": [
                {"to": [members], "ports": [_tcp(SERVER_PORT)]},
                {"ports": [_tcp(DNS), {"protocol": "UDP", "port": DNS}]},
                {"ports": [_tcp(port) for port in sorted(ports)]},
            ],
        },
    }


def storage_ports(job: DeepseekJob, storage: Storage) -> set[int]:
    """Of the storage and of what `restoreFrom` names, as far as URIs and `endpoint_url` tell."""
    named = [storage.uri, restored_from(job.spec.checkpoint.restore_from, storage.uri) or ""]
    options = job.spec.checkpoint.storage.options
    client = options.get("client_kwargs")
    for options_of in (options, client if isinstance(client, dict) else {}):
        endpoint = options_of.get("endpoint_url")
        if isinstance(endpoint, str):
            named.append(endpoint)
    return {port for uri in named if (port := _port_of_uri(uri))}


def _port_of_uri(uri: str) -> int | None:
    if "://" not in uri or uri.startswith("file:"):
        return None
    parts = urlsplit(uri)
    try:
        return parts.port or _PORTS.get(parts.scheme, 443)
    except ValueError:
        return None


def _port_of_endpoint(endpoint: str) -> int:
    port = endpoint.rpartition(":")[2]
    return int(port) if port.isdigit() else 2379


def _tcp(port: int) -> Manifest:
    return {"protocol": "TCP", "port": port}
