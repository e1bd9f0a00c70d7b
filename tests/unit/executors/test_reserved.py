"""What a job may not name, although the API server took it: keys of the installation, somebody's rights."""

from dataclasses import replace
from typing import Any

import pytest

from builders.api_server import ApiServer
from builders.pods import OWNER, cluster_job
from deepseek_operator.executors.inputs import Found, inputs_of, look
from deepseek_operator.executors.render.reserved import secrets_read
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.kube import SECRETS
from deepseek_operator.reconcile.observe import Obstacle

NAME, INSTANCE = "app.kubernetes.io/name", "app.kubernetes.io/instance"
SETTINGS = Rendering(
    image="x", store_uri="s3://b", namespace=OWNER.namespace, own_secrets=("dsj-ca", "dsj-store-key"),
    own_claims=("dsj-store", "data-dsj-etcd-0"), own_labels={NAME: "chart", INSTANCE: "dsj"},
)  # fmt: skip
TOKEN = "kubernetes.io/service-account-token"


def volume(**kind: Any) -> dict[str, Any]:
    return {"pod": {"volumes": [{"name": "free", "emptyDir": {}}, {"name": "x", **kind}]}}


def secret(name: str) -> dict[str, Any]:
    return volume(secret={"secretName": name})


def claim(name: str) -> dict[str, Any]:
    return volume(persistentVolumeClaim={"claimName": name})


def judged(settings: Rendering, types: dict[str, str | None], **spec: Any) -> Obstacle | None:
    return inputs_of(cluster_job(**spec), OWNER, settings, Found(secrets=types), "g1").obstacle


@pytest.mark.parametrize(
    "field,spec",
    [
        ("spec.servers.pod.volumes[1].secret.secretName", {"servers": secret("dsj-ca")}),
        ("spec.workers.pod.volumes[1].secret.secretName", {"workers": secret("dsj-store-key")}),
        (
            "spec.checkpoint.storage.secret",
            {"checkpoint": {"storage": {"uri": "s3://mine/x", "secret": "dsj-store-key"}}},
        ),
        (
            "spec.workers.pod.imagePullSecrets[0].name",
            {"workers": {"pod": {"imagePullSecrets": [{"name": "dsj-ca"}]}}},
        ),
        ("spec.servers.pod.volumes[1].persistentVolumeClaim.claimName", {"servers": claim("data-dsj-etcd-0")}),
        ("spec.checkpoint.storage.pvc.claimName", {"checkpoint": {"storage": {"pvc": {"claimName": "dsj-store"}}}}),
    ],
)
def test_the_installation_s_own(field: str, spec: dict[str, Any]) -> None:
    types: dict[str, str | None] = {"dsj-ca": "Opaque", "dsj-store-key": "Opaque"}
    obstacle = judged(SETTINGS, types, **spec)
    assert obstacle is not None
    assert obstacle.reason == "NotForJobs"
    assert obstacle.message.startswith(f"{field} names the ")
    assert obstacle.remedy
    elsewhere = Rendering(
        image="x", namespace="ops", own_secrets=SETTINGS.own_secrets, own_claims=SETTINGS.own_claims, store_uri="s3://b"
    )
    there = judged(elsewhere, types, **spec)
    assert there is None or there.reason == "StorageMissing", "in another namespace these are just names"


@pytest.mark.parametrize("role", ["servers", "workers"])
def test_no_member_poses_as_the_installation(role: str) -> None:
    labels = {NAME: "chart", INSTANCE: "dsj", "app.kubernetes.io/component": "etcd"}
    posing = {role: {"pod": {"labels": labels}}}
    obstacle = judged(SETTINGS, {}, **posing)
    assert obstacle is not None
    assert obstacle.reason == "NotForJobs"
    assert f"spec.{role}.pod.labels" in obstacle.message
    assert f"{INSTANCE}: dsj" in obstacle.message
    other = {role: {"pod": {"labels": labels | {INSTANCE: "mine"}}}}
    assert judged(SETTINGS, {}, **other) is None, "no selector of the installation takes these"
    assert judged(replace(SETTINGS, namespace="ops"), {}, **posing) is None, "a Service sees its own namespace alone"
    assert judged(replace(SETTINGS, own_labels={}), {}, **posing) is None


@pytest.mark.parametrize("kind", [TOKEN, "bootstrap.kubernetes.io/token", "helm.sh/release.v1"])
def test_somebody_s_rights(kind: str) -> None:
    for spec in (
        {"workers": secret("t")},
        {"servers": secret("t")},
        {"checkpoint": {"storage": {"uri": "s3://mine/x", "secret": "t"}}},
    ):
        obstacle = judged(SETTINGS, {"t": kind}, **spec)
        assert obstacle is not None
        assert obstacle.reason == "NotForJobs"
        assert "which holds" in obstacle.message


@pytest.mark.parametrize("kind", ["Opaque", "kubernetes.io/basic-auth", "kubernetes.io/tls"])
def test_what_is_the_author_s_to_give(kind: str) -> None:
    assert judged(SETTINGS, {"mine": kind}, workers=secret("mine")) is None


def test_a_secret_that_is_not_there_is_not_waited_for_in_a_pod() -> None:
    obstacle = judged(SETTINGS, {"later": None}, workers=secret("later"))
    assert obstacle is not None
    assert obstacle.reason == "SecretMissing"
    assert "kubectl create secret generic later -n ml" in obstacle.remedy


def test_types_are_read_from_the_cluster() -> None:
    server = ApiServer()
    server.put({"metadata": {"name": "token"}, "type": TOKEN}, SECRETS)
    server.put({"metadata": {"name": "plain"}}, SECRETS)
    spec = {
        "servers": secret("token"),
        "workers": secret("plain"),
        "checkpoint": {"storage": {"uri": "s3://b/x", "secret": "none"}},
    }
    job = cluster_job(**spec)
    assert secrets_read(job) == ["none", "plain", "token"]
    assert look(server.api, job, OWNER).secrets == {"none": None, "plain": "Opaque", "token": TOKEN}
    pull = cluster_job(workers={"pod": {"imagePullSecrets": [{"name": "registry"}]}})
    assert secrets_read(pull) == [], "a pull secret is not read by members"
