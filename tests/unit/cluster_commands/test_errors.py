"""What a cluster does not answer, does not know or does not allow: one line, what to do, an exit code."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from builders.job_server import JobServer
from builders.manifests import RIGHT
from deepseek_operator.cli.main import dsj
from deepseek_operator.kube import ApiError, Forbidden, NotFound, Unreachable

Call = Callable[..., Result]
MAY_NOT = (
    'deepseekjobs.deepseek.dev is forbidden: User "ann" cannot list resource "deepseekjobs" in API group '
    '"deepseek.dev" in the namespace "ml"'
)


@pytest.mark.parametrize(
    "raised,code,said,hint",
    [
        (Forbidden(MAY_NOT), 77, "ann may not list deepseekjobs in the namespace ml", "can-i list deepseekjobs -n ml"),
        (Forbidden("Unauthorized"), 77, "the cluster does not let you: Unauthorized", "kubectl auth whoami"),
        (NotFound("404 page not found"), 66, "this cluster knows no DeepseekJobs", "helm install"),
        (Unreachable("the API server at x does not answer"), 69, "the API server at x", "kubectl cluster-info"),
    ],
)
@pytest.mark.parametrize("command", [["jobs"], ["status"]])
def test_one_line_and_what_to_do(
    command: list[str], raised: ApiError, code: int, said: str, hint: str, server: JobServer, call: Call
) -> None:
    server.down = raised
    answer = call(*command, "--cluster")
    assert (answer.exit_code, answer.stdout) == (code, "")
    first, second = answer.stderr.splitlines()
    assert first.startswith(f"error: {said}")
    assert second.startswith("hint: ")
    assert hint in second


def test_a_job_is_asked_for_in_the_same_way(server: JobServer, call: Call) -> None:
    server.down = Unreachable("no answer")
    assert call("status", "digits", "--cluster").exit_code == 69


def test_no_cluster_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/nothing")
    answer = CliRunner().invoke(dsj, ["status", "--cluster"])
    assert answer.exit_code == 66
    assert answer.stderr.startswith("error: no Kubernetes cluster is known here")
    assert "--here is this machine" in answer.stderr


def test_a_kubeconfig_that_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    file = f"{tmp_path}/config"
    with open(file, "w", encoding="utf-8") as out:
        out.write("a: [")
    answer = CliRunner().invoke(dsj, ["status", "--kubeconfig", file])
    assert (answer.exit_code, answer.stderr.count("\n")) == (66, 2)


def test_here_and_a_namespace_exclude_each_other(call: Call) -> None:
    assert call("status", "--here", "-n", "ml").exit_code == 64


def test_what_the_server_refuses_is_told_and_leaves_nothing(server: JobServer, call: Call) -> None:
    from deepseek_operator.kube import Invalid

    server.refuse["apply deepseekjobs"] = [Invalid("spec.workers.replicas: too many")]
    answer = call("run", "-", "-n", "ml", "--detach", input=RIGHT)
    assert (answer.exit_code, server.writes) == (78, [])
    assert "the API server refuses the manifest: spec.workers.replicas: too many" in answer.stderr
