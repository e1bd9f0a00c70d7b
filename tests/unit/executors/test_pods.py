"""Every pod is ours where it matters, whatever the job's author writes; what they may write is in it."""

from typing import Any

import pytest

from builders.pods import OWNER
from builders.pods import cluster_job as job
from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.executors.render.parts import Manifest
from deepseek_operator.executors.render.pods import member_pod
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.executors.render.storage import CHECKPOINTS, Storage
from deepseek_runtime.contract.names import Member

SERVER, WORKER = Member("server", 1, 4), Member("worker", 2, 0)
STORAGE = Storage("s3://b/x")
SETTINGS = Rendering(image="usual/image:1", etcd=("etcd:2379",))
EVERYTHING: dict[str, Any] = {
    "labels": {"team": "a", "deepseek.dev/job": "other", "deepseek.dev/kept": "true"},
    "annotations": {"example.com/x": "1", "deepseek.dev/y": "2"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 1,
                    "podAffinityTerm": {
                        "labelSelector": {"matchLabels": {"a": "b"}},
                        "topologyKey": "kubernetes.io/hostname",
                    },
                }
            ]
        }
    },
    "volumes": [
        {"name": "data", "persistentVolumeClaim": {"claimName": "set", "readOnly": True}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"name": "files", "configMap": {"name": "files"}},
        {"name": "token", "secret": {"secretName": "hub"}},
        {"name": "dsj-config", "emptyDir": {}},
    ],
    "volumeMounts": [
        {"name": "data", "mountPath": "/data", "subPath": "images", "readOnly": True},
        {"name": "shm", "mountPath": "/dev/shm"},
        {"name": "files", "mountPath": "/etc/dsj/config"},
        {"name": "token", "mountPath": "/etc/dsj/secrets/more"},
    ],
    "env": [
        {"name": "OMP_NUM_THREADS", "value": "7"},
        {"name": "MINE", "value": "1"},
        {"name": "DSJ_ROLE", "value": "chief"},
        {"name": "DSJ_ANYTHING", "value": "x"},
        {"name": "HOME", "value": "/root"},
    ],
    "priorityClassName": "high",
    "imagePullSecrets": [{"name": "registry"}],
}


def make(job: DeepseekJob, member: Member = WORKER, storage: Storage = STORAGE, **settings: Any) -> Manifest:
    chosen = Rendering(**{"image": "usual/image:1", "etcd": ("etcd:2379",), **settings})
    return member_pod(job, OWNER, member, chosen, storage, generation="g1", config="the-config", code="the-code")


def container(pod: Manifest) -> Manifest:
    (one,) = pod["spec"]["containers"]
    assert isinstance(one, dict)
    return one


def environment(pod: Manifest) -> dict[str, Any]:
    given = container(pod)["env"]
    assert len({one["name"] for one in given}) == len(given)
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in given}


def test_who_it_is() -> None:
    about = make(job(), SERVER)["metadata"]
    assert (about["name"], about["namespace"]) == ("digits-server-1-4", "ml")
    assert about["labels"] == {
        "app.kubernetes.io/managed-by": "deepseek-operator",
        "deepseek.dev/job": "digits",
        "deepseek.dev/role": "server",
        "deepseek.dev/index": "1",
        "deepseek.dev/incarnation": "4",
        "deepseek.dev/generation": "g1",
    }
    (owner,) = about["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("DeepseekJob", OWNER.uid, True)
    assert owner["blockOwnerDeletion"] is False


@pytest.mark.parametrize("member", [SERVER, WORKER])
@pytest.mark.parametrize("pod", [{}, EVERYTHING])
def test_every_pod_is_restricted(member: Member, pod: dict[str, Any]) -> None:
    """The Pod Security standard `restricted`, and more: no token, no service links, a root that nobody writes."""
    spec = make(job(servers={"pod": pod}, workers={"pod": pod}), member)["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (one,) = spec["containers"]
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
    }
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    for never in ("serviceAccountName", "hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "nodeName"):
        assert never not in spec
    kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "projected", "emptyDir", "persistentVolumeClaim", "secret"}
    sources = [s for v in spec["volumes"] for s in v.get("projected", {}).get("sources", [])]
    assert all(set(source) == {"secret"} for source in sources), "and no service account's token among them"


def test_the_user_s_part() -> None:
    pod = make(job(workers={"pod": EVERYTHING}))
    labels, spec = pod["metadata"]["labels"], pod["spec"]
    assert labels["team"] == "a"
    assert labels["deepseek.dev/job"] == "digits"
    assert "deepseek.dev/kept" not in labels
    assert pod["metadata"]["annotations"] == {"example.com/x": "1"}
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert spec["priorityClassName"] == "high"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert "preferredDuringSchedulingIgnoredDuringExecution" in spec["affinity"]["podAntiAffinity"]
    values = environment(pod)
    assert (values["OMP_NUM_THREADS"], values["MINE"]) == ("7", "1")
    assert (values["DSJ_ROLE"], values["HOME"]) == ("worker", "/tmp")
    assert "DSJ_ANYTHING" not in values
    names = [volume["name"] for volume in spec["volumes"]]
    assert len(set(names)) == len(names)
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "set", "readOnly": True}} in spec["volumes"]
    mounts = {mount["mountPath"]: mount for mount in container(pod)["volumeMounts"]}
    assert mounts["/data"] == {"name": "data", "mountPath": "/data", "subPath": "images", "readOnly": True}
    assert mounts["/etc/dsj/config"]["name"] == "dsj-config"
    assert "/etc/dsj/secrets/more" not in mounts


def test_what_a_member_is_told() -> None:
    pod = make(job(), SERVER)
    values, one = environment(pod), container(pod)
    assert one["command"] == ["python", "-m", "deepseek_runtime.server"]
    assert values["DSJ_CONFIG"] == "/etc/dsj/config/config.json"
    assert values["DSJ_SECRETS"] == "/etc/dsj/secrets"
    assert (values["DSJ_ROLE"], values["DSJ_INDEX"], values["DSJ_INCARNATION"]) == ("server", "1", "4")
    assert values["DSJ_EXIT_FILE"] == one["terminationMessagePath"] == "/dev/termination-log"
    assert values["DSJ_POD_IP"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert one["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert [port["containerPort"] for port in one["ports"]] == [7077]
    assert "ports" not in container(make(job()))
    by_name = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert by_name["dsj-config"]["configMap"]["name"] == "the-config"
    assert by_name["dsj-code"]["configMap"]["name"] == "the-code"
    assert [s["secret"]["name"] for s in by_name["dsj-secrets"]["projected"]["sources"]] == ["digits-server-keys"]
    assert pod["spec"]["restartPolicy"] == "Never"
    written = [mount["mountPath"] for mount in one["volumeMounts"] if not mount.get("readOnly")]
    assert written == ["/var/lib/dsj/data", "/tmp"]


@pytest.mark.parametrize(
    "given,asked,threads",
    [
        ({}, {"requests": {"cpu": "250m", "memory": "512Mi"}}, "1"),
        ({"requests": {"cpu": "3"}}, {"requests": {"cpu": "3", "memory": "512Mi"}}, "3"),
        ({"limits": {"cpu": "1500m"}}, {"requests": {"memory": "512Mi"}, "limits": {"cpu": "1500m"}}, "2"),
        (
            {"requests": {"cpu": "1"}, "limits": {"cpu": "4", "memory": "1Gi", "nvidia.com/gpu": "1"}},
            {"requests": {"cpu": "1"}, "limits": {"cpu": "4", "memory": "1Gi", "nvidia.com/gpu": "1"}},
            "4",
        ),
    ],
)
def test_resources_and_threads(given: dict[str, Any], asked: dict[str, Any], threads: str) -> None:
    pod = make(job(workers={"resources": given}))
    assert container(pod)["resources"] == asked
    assert environment(pod)["OMP_NUM_THREADS"] == threads


def test_the_image() -> None:
    assert container(make(job()))["image"] == "registry/x:1"
    assert container(make(job(image=None)))["image"] == "usual/image:1"
    assert container(make(job(), pull_policy="Always"))["imagePullPolicy"] == "Always"
    assert make(job(), pull_secrets=("ours",))["spec"]["imagePullSecrets"] == [{"name": "ours"}]


def test_servers_lie_apart_if_they_can() -> None:
    (spread,) = make(job(), SERVER)["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    assert spread["labelSelector"]["matchLabels"] == {"deepseek.dev/job": "digits", "deepseek.dev/role": "server"}
    assert "topologySpreadConstraints" not in make(job())["spec"]


NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"


@pytest.mark.parametrize(
    "given,ours",
    [
        ([], [NOT_READY, UNREACHABLE]),
        ([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 600}], [NOT_READY]),
        ([{"operator": "Exists"}], []),
        ([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoSchedule"}], [NOT_READY, UNREACHABLE]),
    ],
)
def test_nobody_stays_long_on_a_lost_node(given: list[dict[str, Any]], ours: list[str]) -> None:
    found = make(job(workers={"pod": {"tolerations": given}}))["spec"]["tolerations"]
    assert found[: len(given)] == given
    assert [(t["key"], t["tolerationSeconds"], t["effect"]) for t in found[len(given) :]] == [
        (key, 15, "NoExecute") for key in ours
    ]


def test_a_namespace_that_gives_users_itself() -> None:
    context = make(job(), run_as=None)["spec"]["securityContext"]
    assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_a_claim_and_credentials() -> None:
    claim = Storage("file:///x", {"persistentVolumeClaim": {"claimName": "c"}}, sub_path="jobs")
    pod = make(job(), storage=claim)
    assert {"name": "dsj-checkpoints", "persistentVolumeClaim": {"claimName": "c"}} in pod["spec"]["volumes"]
    mount = next(m for m in container(pod)["volumeMounts"] if m["name"] == "dsj-checkpoints")
    assert mount == {"name": "dsj-checkpoints", "mountPath": CHECKPOINTS, "subPath": "jobs"}
    keyed = make(job(), storage=Storage("s3://b", environment_secret="aws", options_secret="options"))
    assert container(keyed)["envFrom"] == [{"secretRef": {"name": "aws"}}]
    secrets = next(v for v in keyed["spec"]["volumes"] if v["name"] == "dsj-secrets")
    assert [s["secret"]["name"] for s in secrets["projected"]["sources"]] == ["digits-worker-keys", "options"]
