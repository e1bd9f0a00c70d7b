"""Whoever may create DeepseekJobs gets nothing but pods of jobs by one; whoever is a member gets its own job's keys."""

import base64
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from builders.etcd import LocalEtcd
from builders.installed_etcd import InstalledEtcd
from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.membership import TlsFiles, Unavailable
from deepseek_runtime.membership.connection import Connection
from testcluster.commands import CommandFailed

Until = Callable[..., None]

POD_ATTEMPTS: dict[str, Any] = {
    "securityContext": {"runAsUser": 0, "runAsNonRoot": False},
    "containers": [{"name": "member", "securityContext": {"privileged": True}}],
    "initContainers": [{"name": "first", "image": "x", "securityContext": {"privileged": True}}],
    "ephemeralContainers": [{"name": "late", "image": "x"}],
    "serviceAccountName": "admin",
    "serviceAccount": "admin",
    "automountServiceAccountToken": True,
    "hostNetwork": True,
    "hostPID": True,
    "hostIPC": True,
    "hostUsers": True,
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["etcd"]}],
    "nodeName": "node1",
    "runtimeClassName": "other",
    "schedulerName": "mine",
    "privileged": True,
    "command": ["sh"],
    "envFrom": [{"secretRef": {"name": "x"}}],
    "resourceClaims": [{"name": "device"}],
    "shareProcessNamespace": True,
}
"""Fields of a pod that a job's author has no word for."""
VOLUME_ATTEMPTS: dict[str, Any] = {
    "hostPath": {"path": "/"},
    "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
    "csi": {"driver": "secrets-store.csi.k8s.io"},
    "nfs": {"server": "10.0.0.1", "path": "/"},
    "downwardAPI": {"items": []},
    "ephemeral": {},
    "image": {"reference": "x"},
}
SPEC: dict[str, Any] = {
    "servers": {"replicas": 1},
    "workers": {"replicas": 1},
    "training": {"task": "deepseek_runtime.tasks.digits:Digits", "steps": 1000},
}


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEtcd]:
    """As the chart's: the operator can sign for it."""
    found = InstalledEtcd(tmp_path_factory.mktemp("etcd"))
    (found.folder / "secrets" / "ca.key").write_bytes(found.authority.pair.key)
    yield found
    found.kill()


def job(place: Any, name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "deepseek.dev/v1alpha1",
        "kind": "DeepseekJob",
        "metadata": {"name": name, "namespace": place.namespace},
        "spec": {**SPEC, **spec},
    }


def refusal(place: Any, manifest: dict[str, Any]) -> str:
    with pytest.raises(CommandFailed) as raised:
        place.cluster.kubectl("apply", "--dry-run=server", "-f", "-", given=json.dumps(manifest))
    return str(raised.value)


def blocked(place: Any, name: str) -> str:
    conditions = place.job(name).get("status", {}).get("conditions", [])
    return next(
        (f"{c['reason']}: {c['message']}" for c in conditions if (c["type"], c["status"]) == ("Blocked", "True")), ""
    )


def test_no_field_gives_more_than_a_pod_of_a_job(place: Any, until: Until) -> None:
    volumes = [{"name": f"v{n}", kind: what} for n, (kind, what) in enumerate(VOLUME_ATTEMPTS.items())]
    for volume in volumes:
        said = refusal(place, job(place, "x", workers={"replicas": 1, "pod": {"volumes": [volume]}}))
        assert "unknown field" in said or "exactly one kind" in said, volume
    said = refusal(place, job(place, "x", workers={"replicas": 1, "pod": POD_ATTEMPTS}))
    assert all(f'unknown field "spec.workers.pod.{field}"' in said for field in POD_ATTEMPTS), said
    for harm, why in (
        ({"env": [{"name": "DSJ_CONFIG", "value": "/x"}]}, "the operator's own"),
        ({"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "y", "key": "z"}}}]}, "unknown field"),
        ({"volumes": [{"name": "v", "secret": {"secretName": "other-worker-keys"}}]}, "keys of a job"),
        (
            {
                "volumes": [{"name": "v", "emptyDir": {}}],
                "volumeMounts": [{"name": "v", "mountPath": "/etc/dsj/secrets"}],
            },
            "lies in a folder",
        ),
        ({"volumes": [{"name": "dsj-secrets", "emptyDir": {}}]}, "the operator's own"),
        ({"labels": {"deepseek.dev/job": "another"}}, "the operator's own"),
        ({"annotations": {"container.apparmor.security.beta.kubernetes.io/member": "unconfined"}}, "protects the node"),
    ):
        assert why in refusal(place, job(place, "x", workers={"replicas": 1, "pod": harm})), harm

    # A client that does not ask for strictness has them pruned: what is left makes plain pods of jobs.
    place.operator("one")
    pod = {
        **POD_ATTEMPTS,
        "labels": {"app.kubernetes.io/managed-by": "me"},
        "tolerations": [{"operator": "Exists"}],
    }
    tried = job(place, "digits", workers={"replicas": 1, "pod": pod}, servers={"replicas": 1, "pod": POD_ATTEMPTS})
    place.cluster.kubectl("apply", "--validate=ignore", "-f", "-", given=json.dumps(tried))
    until(lambda: sorted(place.pods()) == ["digits-server-0-0", "digits-worker-0-0"], "its pods")
    for item in place.cluster.get("pods", "-n", place.namespace)["items"]:
        assert_plain(item)


def assert_plain(pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    assert spec["serviceAccountName"] == "default"
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "hostAliases", "runtimeClassName"} & spec.keys()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["schedulerName"] == "default-scheduler"
    assert not any({"hostPath", "csi", "nfs"} & volume.keys() for volume in spec["volumes"])
    sources = [s for volume in spec["volumes"] for s in volume.get("projected", {}).get("sources", [])]
    assert not any("serviceAccountToken" in source for source in sources)
    (container,) = spec["containers"]
    assert container["securityContext"]["privileged"] is False
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["command"][:2] == ["python", "-m"]
    assert "envFrom" not in container
    labels = pod["metadata"]["labels"]
    assert labels["deepseek.dev/job"] == "digits"
    assert labels["app.kubernetes.io/managed-by"] == "deepseek-operator"


def test_no_secret_gives_anothers_rights(place: Any, until: Until) -> None:
    token = {
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": "token", "namespace": place.namespace,
            "annotations": {"kubernetes.io/service-account.name": "default"},
        },
    }  # fmt: skip
    own = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "release-ca", "namespace": place.namespace},
        "stringData": {"ca.key": "x"},
    }  # fmt: skip
    place.cluster.apply(token, own)
    place.operator("one", own_secrets="release-ca", own_claims="release-store")
    attempts: dict[str, dict[str, Any]] = {
        "a": {"workers": {"replicas": 1, "pod": {"volumes": [{"name": "v", "secret": {"secretName": "token"}}]}}},
        "b": {"workers": {"replicas": 1, "pod": {"volumes": [{"name": "v", "secret": {"secretName": "release-ca"}}]}}},
        "c": {"checkpoint": {"storage": {"uri": "s3://bucket/x", "secret": "token"}}},
        "d": {"checkpoint": {"storage": {"pvc": {"claimName": "release-store"}}}},
        "e": {"workers": {"replicas": 1, "pod": {"volumes": [{"name": "v", "secret": {"secretName": "later"}}]}}},
    }
    place.cluster.apply(*(job(place, name, **spec) for name, spec in attempts.items()))
    for name in attempts:
        wanted = "SecretMissing: " if name == "e" else "NotForJobs: "
        until(partial(lambda name, wanted: blocked(place, name).startswith(wanted), name, wanted), f"{name} is refused")
    assert place.pods() == {}

    later = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "later", "namespace": place.namespace}}
    place.cluster.apply(later)
    until(lambda: "e-worker-0-0" in place.pods(), "what was missing is there")


def test_a_pod_reads_no_other_jobs_keys(place: Any, until: Until, tmp_path: Path) -> None:
    place.operator("one")
    uids = {name: place.submit(name)["metadata"]["uid"] for name in ("one", "two")}
    until(lambda: len(place.pods()) == 8, "all pods")

    data = place.cluster.get("secret", "one-worker-keys", "-n", place.namespace)["data"]
    assert "server.secret" not in data
    for file, content in data.items():
        (tmp_path / file).write_bytes(base64.b64decode(content))
    tls = TlsFiles(tmp_path / "ca.crt", tmp_path / "tls.crt", tmp_path / "tls.key")
    keys = {name: JobKeys.of(place.namespace, place.namespace, name, uid) for name, uid in uids.items()}
    member = Connection((place.etcd.endpoint,), 5.0, tls)
    try:
        until(lambda: reads(member, keys["one"]), "its own prefix opens")
        with pytest.raises(Unavailable, match="PERMISSION_DENIED"):
            member.list(keys["two"].prefix)
        with pytest.raises(Unavailable, match="PERMISSION_DENIED"):
            member.put(keys["two"].term, b"{}")
        assert "Isolated" not in [c["type"] for c in place.job("one")["status"]["conditions"]]
        place.cluster.kubectl("delete", "deepseekjob", "one", "-n", place.namespace)
        until(lambda: not reads(member, keys["one"]), "its user goes with it")
    finally:
        member.close()


def reads(member: Connection, keys: JobKeys) -> bool:
    try:
        member.list(keys.prefix)
    except Unavailable:
        return False
    return True


def test_where_jobs_share_a_user_the_condition_says_so(place: Any, until: Until) -> None:
    folder = Path(place.folder) / "shared"
    folder.mkdir()
    for name in ("ca.crt", "tls.crt", "tls.key"):  # and no ca.key
        (folder / name).write_bytes((place.etcd.folder / "secrets" / name).read_bytes())
    place.operator("one", etcd_certificates=str(folder))
    place.submit()

    def said() -> bool:
        found = place.job().get("status", {}).get("conditions", [])
        return any((c["type"], c["status"], c["reason"]) == ("Isolated", "False", "EtcdShared") for c in found)

    until(said, "Isolated is False")
    held = place.cluster.get("secret", "digits-server-keys", "-n", place.namespace)["data"]
    assert base64.b64decode(held["tls.crt"]) == (folder / "tls.crt").read_bytes()
