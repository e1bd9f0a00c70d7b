"""What a job has beside its pods: config document, code, storage, budget, network policy."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from builders.pods import OWNER
from builders.pods import cluster_job as job
from deepseek_operator.api.user_code import UserCode
from deepseek_operator.executors.inputs import Found, Inputs, inputs_of
from deepseek_operator.executors.render.budgets import server_budget
from deepseek_operator.executors.render.code import code_map, code_name, read_code
from deepseek_operator.executors.render.config import config_map
from deepseek_operator.executors.render.network import network_policy
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.executors.render.storage import Storage, options_secret, storage_of
from deepseek_operator.reconcile.observe import Obstacle
from deepseek_runtime.contract.config import JobConfig
from deepseek_runtime.contract.store import password_of

STORE = Rendering(
    etcd=("e1:2379", "e2:2390"), store_uri="webdavs://store.ops:8443/", store_key=b"k" * 32, store_ca="PEM"
)
USER = f"ml.digits.{OWNER.uid}"
CODE = UserCode({"train.py": b"print()\n", "weights.bin": b"\xff\x00"})


def made(settings: Rendering = STORE, found: Found | None = None, **spec: Any) -> Inputs:
    return inputs_of(job(**spec), OWNER, settings, found or Found(), "g1")


def test_the_config_document() -> None:
    inputs = made(found=Found(CODE))
    assert inputs.config is not None
    manifest = config_map(OWNER, inputs.config)
    assert manifest["metadata"]["name"] == "digits-b8b8b8b8-config-g1"
    assert manifest["immutable"] is True
    assert manifest["metadata"]["ownerReferences"][0]["uid"] == OWNER.uid
    read = JobConfig.model_validate_json(manifest["data"]["config.json"])
    assert (read.uid, read.bind, read.data_dir) == (OWNER.uid, "tcp://0.0.0.0:7077", "/var/lib/dsj/data")
    assert read.etcd == ("e1:2379", "e2:2390")
    assert read.keep_journals
    assert read.training.code == "/etc/dsj/code"
    assert read.checkpoint.uri == f"webdavs://store.ops:8443/ml/digits/{OWNER.uid}"
    text = manifest["data"]["config.json"]
    assert password_of(STORE.store_key, USER) not in text, "credentials do not stand in a ConfigMap"
    assert "auth" not in text


def test_the_store_s_credentials() -> None:
    storage = storage_of(job(), OWNER, STORE, None)
    assert isinstance(storage, Storage)
    secret = options_secret(OWNER, storage)
    assert secret is not None
    assert secret["metadata"]["name"] == storage.options_secret
    assert secret["metadata"]["name"].endswith("-worker-keys"), "which no job may mount"
    assert json.loads(secret["stringData"]["storage.json"]) == {
        "auth": [USER, password_of(STORE.store_key, USER)],
        "verify": "/etc/dsj/secrets/store-ca.crt",
    }
    assert secret["stringData"]["store-ca.crt"] == "PEM"
    open_store = storage_of(job(), OWNER, Rendering(store_uri="s3://bucket"), None)
    assert isinstance(open_store, Storage)
    assert (open_store.uri, options_secret(OWNER, open_store)) == (f"s3://bucket/ml/digits/{OWNER.uid}", None)


def test_an_object_store() -> None:
    named = {"storage": {"uri": "s3://bucket/x/", "secret": "aws"}}
    storage = storage_of(job(checkpoint=named), OWNER, STORE, None)
    assert storage == Storage(f"s3://bucket/x/ml/digits/{OWNER.uid}", environment_secret="aws")


@pytest.mark.parametrize(
    "storage,folder",
    [
        ({}, "webdavs://store.ops:8443/ml/old"),
        ({"storage": {"uri": "s3://bucket/x/"}}, "s3://bucket/x/ml/old"),
        ({"storage": {"pvc": {"claimName": "c"}}}, "file:///var/lib/dsj/checkpoints/ml/old"),
    ],
)
def test_another_job_by_its_name(storage: dict[str, Any], folder: str) -> None:
    named = made(found=Found(claim=claim("ReadWriteMany")), checkpoint={**storage, "restoreFrom": "job://old"})
    assert named.config is not None
    assert named.config.checkpoint.restore_from == folder
    assert named.config.checkpoint.uri == f"{folder.removesuffix('old')}digits/{OWNER.uid}"


def claim(*modes: str, phase: str = "Bound", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "c"}, "spec": {"accessModes": list(modes)}, "status": {"phase": phase, **status}}


PINNED = {"pod": {"nodeSelector": {"kubernetes.io/hostname": "n1"}}}
ELSEWHERE = {"pod": {"nodeSelector": {"kubernetes.io/hostname": "n2"}}}
REQUIRED = {
    "pod": {
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}
                    ]
                }
            }
        }
    }
}


@pytest.mark.parametrize(
    "held,servers,workers,reason",
    [
        (claim("ReadWriteMany"), {}, {}, ""),
        (claim("ReadWriteMany", "ReadWriteOnce"), {}, {}, ""),
        (claim("ReadWriteOnce", accessModes=["ReadWriteOnce", "ReadWriteMany"]), {}, {}, ""),
        (claim("ReadWriteMany", phase="Pending"), {}, {}, ""),
        (None, {}, {}, "StorageMissing"),
        (claim("ReadWriteMany", phase="Lost"), {}, {}, "StorageMissing"),
        (claim("ReadWriteOnce"), {}, {}, "StorageNotShared"),
        (claim("ReadWriteOnce"), {"replicas": 1}, {"replicas": 1}, "StorageNotShared"),
        (claim("ReadWriteOnce"), PINNED, PINNED, ""),
        (claim("ReadWriteOnce"), PINNED, REQUIRED, ""),
        (claim("ReadWriteOnce"), PINNED, ELSEWHERE, "StorageNotShared"),
        (claim("ReadWriteOnce"), PINNED, {}, "StorageNotShared"),
        (claim("ReadWriteOncePod"), PINNED, PINNED, "StorageNotShared"),
        (claim("ReadOnlyMany"), PINNED, PINNED, "StorageNotShared"),
        (claim(), PINNED, PINNED, "StorageNotShared"),
    ],
)
def test_a_claim_is_judged_before_any_pod_starts(
    held: dict[str, Any] | None, servers: dict[str, Any], workers: dict[str, Any], reason: str
) -> None:
    named = {"storage": {"pvc": {"claimName": "c", "subPath": "jobs"}}}
    found = storage_of(job(checkpoint=named, servers=servers, workers=workers), OWNER, STORE, held)
    if reason:
        assert isinstance(found, Obstacle)
        assert (found.reason, "PersistentVolumeClaim c" in found.message) == (reason, True)
        assert found.remedy
    else:
        volume = {"persistentVolumeClaim": {"claimName": "c"}}
        assert found == Storage(f"file:///var/lib/dsj/checkpoints/ml/digits/{OWNER.uid}", volume, "jobs")


def test_no_storage_at_all() -> None:
    inputs = made(Rendering())
    assert inputs.obstacle is not None
    assert inputs.obstacle.reason == "StorageMissing"


def test_no_image_at_all() -> None:
    inputs = made(image=None)
    assert inputs.obstacle is not None
    assert inputs.obstacle.reason == "ImageMissing"
    assert made(Rendering(image="x", store_uri="s3://b"), image=None).obstacle is None


def test_code_comes_back_as_it_was() -> None:
    copied = code_map(OWNER, CODE)
    assert copied["metadata"]["name"] == code_name(OWNER, CODE)
    assert copied["immutable"] is True
    assert copied["data"] == {"train.py": "print()\n"}
    assert base64.b64decode(copied["binaryData"]["weights.bin"]) == b"\xff\x00"
    assert read_code(copied) == CODE
    assert code_name(OWNER, CODE) != code_name(OWNER, UserCode({"train.py": b"print(1)\n"}))


@pytest.mark.parametrize("given", [{}, {"data": {}}, {"binaryData": {"x": "?"}}, {"data": None}])
def test_code_that_is_none(given: dict[str, Any]) -> None:
    found = read_code({"metadata": {"name": "c"}, **given})
    assert isinstance(found, Obstacle)
    assert found.reason == "CodeMissing"


@pytest.mark.parametrize("servers,least", [(1, None), (2, 1), (5, 4)])
def test_a_budget_blocks_no_drain(servers: int, least: int | None) -> None:
    budget = server_budget(job(servers={"replicas": servers}), OWNER)
    assert (None if budget is None else budget["spec"]["minAvailable"]) == least
    if budget is not None:
        assert budget["spec"]["selector"]["matchLabels"]["deepseek.dev/role"] == "server"


def test_who_may_talk_to_whom() -> None:
    options = {"endpoint_url": "http://minio.ml:9000", "client_kwargs": {"endpoint_url": "https://other"}}
    inputs = made(checkpoint={"storage": {"uri": "s3://b", "options": options}, "restoreFrom": "webdav://old:81/x"})
    assert inputs.storage is not None
    policy = network_policy(inputs.job, OWNER, STORE, inputs.storage)["spec"]
    members = {"podSelector": {"matchLabels": {"deepseek.dev/job": "digits"}}}
    assert policy["podSelector"] == members["podSelector"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == [{"from": [members], "ports": [{"protocol": "TCP", "port": 7077}]}]
    to_members, dns, outside = policy["egress"]
    assert to_members["to"] == [members]
    assert {(port["protocol"], port["port"]) for port in dns["ports"]} == {("TCP", 53), ("UDP", 53)}
    assert [port["port"] for port in outside["ports"]] == [80, 81, 443, 2379, 2390, 9000]
    named = made(checkpoint={"restoreFrom": "job://old"}, settings=replace(STORE, open_ports=()))
    assert named.storage is not None
    (out,) = network_policy(named.job, OWNER, named.settings, named.storage)["spec"]["egress"][2:]
    assert [port["port"] for port in out["ports"]] == [2379, 2390, 8443], "the storage is the job's own"
    own = network_policy(job(), OWNER, STORE, Storage("webdavs://store.ops:8443/u"))["spec"]["egress"][2]["ports"]
    assert {"protocol": "TCP", "port": 8443} in own
