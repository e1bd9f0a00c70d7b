"""`dsj` against an API server in memory."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from builders.job_server import NAMESPACE, JobServer
from deepseek_operator import jobs_in_cluster
from deepseek_operator.cli.main import dsj
from deepseek_operator.jobs_in_cluster import InCluster


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> JobServer:
    made = JobServer()

    def in_cluster(context: str = "", namespace: str = "", kubeconfig: str = "", *, spelled: Any) -> InCluster:
        return InCluster(made.api, namespace or NAMESPACE, named=bool(namespace), spelled=spelled)

    monkeypatch.setattr(jobs_in_cluster, "in_cluster", in_cluster)
    monkeypatch.setattr(jobs_in_cluster, "SETTLING", 0.01)
    monkeypatch.setattr(jobs_in_cluster.JobInCluster, "tick", 0.01)
    return made


@pytest.fixture
def call(server: JobServer) -> Callable[..., Result]:
    def run(*arguments: str, input: str | None = None, program: str = "dsj") -> Result:
        return CliRunner().invoke(dsj, list(arguments), input=input, prog_name=program)

    return run
