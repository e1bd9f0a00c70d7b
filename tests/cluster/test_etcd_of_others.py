"""A release that uses an etcd with TLS that is not its own, with the authority's key and without."""

import base64
from typing import Any

import pytest
from cryptography import x509

from builders.external_etcd import SECRET, endpoint, start
from builders.releases import NAME, Release
from deepseek_operator.api.conditions import get
from testcluster.cluster import Cluster


@pytest.mark.parametrize("authority_given", [True, False])
def test_a_job_trains(loaded: Cluster, namespace: str, authority_given: bool) -> None:
    authority = start(loaded, namespace, authority_given=authority_given)
    release = Release(loaded, namespace)
    external = {"endpoints": [endpoint(namespace)], "secretName": SECRET}
    try:
        release.install({"etcd": {"enabled": False, "external": external}})
        job = release.submit("digits", short)
        job.until(lambda s: s.phase == "Running", "it trains")
        assert [p for p in release.get("pods")["items"] if p["metadata"]["name"].startswith(f"{NAME}-etcd")] == []
        told = get(job.status().conditions, "Isolated")
        held = {
            key: base64.b64decode(value) for key, value in release.get("secret", "digits-worker-keys")["data"].items()
        }
        (name,) = x509.load_pem_x509_certificate(held["tls.crt"]).subject.get_attributes_for_oid(
            x509.NameOID.COMMON_NAME
        )
        assert held["ca.crt"] == authority.certificate
        if authority_given:
            assert told is None
            assert name.value == job.read()["metadata"]["uid"]
        else:
            assert told is not None
            assert (told.status, told.reason, name.value) == ("False", "EtcdShared", "root")
        ended = job.finished()
        assert ended.phase == "Succeeded", job.told()
        assert ended.progress is not None
        assert (ended.progress.samples_lost, ended.progress.samples_repeated) == (0, 0)
    finally:
        release.remove()


def short(spec: dict[str, Any]) -> None:
    spec["training"]["steps"] = 600
    spec["training"]["evaluation"]["everySteps"] = 300
    spec["training"]["optimizer"]["warmupSteps"] = 50
