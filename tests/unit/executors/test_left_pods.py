"""Which pods stay to be looked at, of a job that runs and of one that has ended."""

import pytest

from builders.executor import S0, W0, W1, Cluster
from builders.pods import ended, ending, record
from deepseek_operator.kube import PODS


def test_the_newest_failed_pod_of_a_role_stays() -> None:
    cluster = Cluster()
    cluster.run(S0, W0, W1)
    cluster.becomes(W0, lambda pod: ended(1, of=pod))
    cluster.executor.observe()
    assert cluster.apply(delete=(W0,)) == ["apply pods digits-worker-0-0"]
    assert "worker-0-0" not in cluster.phases()
    cluster.show()
    assert "worker-0-0" not in cluster.phases()
    cluster.another()
    assert "worker-0-0" not in cluster.phases(), "for another process too"

    cluster.becomes(S0, lambda pod: ended(137, of=pod))
    cluster.executor.observe()
    cluster.apply(delete=(S0,))
    cluster.show()
    assert cluster.server.names(PODS) == ["digits-server-0-0", "digits-worker-0-0", "digits-worker-1-0"]

    cluster.becomes(W1, lambda pod: ended(1, of=pod))
    cluster.executor.observe()
    assert cluster.apply(delete=(W1,)) == ["apply pods digits-worker-1-0", "delete pods digits-worker-0-0 grace 0"]
    cluster.show()
    assert cluster.server.names(PODS) == ["digits-server-0-0", "digits-worker-1-0"]


def test_who_left_as_asked_does_not_stay() -> None:
    cluster = Cluster()
    cluster.run(W0)
    cluster.apply(terminate=(W0,))
    cluster.becomes(W0, lambda pod: ended(137, of=pod))
    cluster.executor.observe()
    assert cluster.apply(delete=(W0,)) == ["delete pods digits-worker-0-0 grace 0"]


FINISHED = "2026-11-24T11:00:00Z"


@pytest.mark.parametrize(
    "policy,left",
    [
        ("Running", ["digits-worker-0-0", "digits-worker-1-0"]),
        ("All", []),
        ("None", ["digits-server-0-0", "digits-worker-0-0", "digits-worker-1-0"]),
    ],
)
def test_what_is_left_of_a_job_that_has_ended(policy: str, left: list[str]) -> None:
    cluster = Cluster(runPolicy={"cleanPodPolicy": policy})
    cluster.run(S0, W0, W1)
    cluster.becomes(W1, lambda pod: ending(ended(1, of=pod)))
    cluster.executor.observe()
    cluster.apply(delete=(W1,))  # kept, while the job still ran
    cluster.becomes(W0, lambda pod: ending(ended(0, message=record(0, "Finished"), of=pod)))
    cluster.executor.observe()
    cluster.apply(FINISHED, delete=(W0,), terminate=(S0,))
    cluster.show()
    assert "worker-0-0" not in cluster.phases()
    if policy != "None":
        cluster.vanishes(S0)
        cluster.executor.observe()
        cluster.apply(FINISHED, delete=(S0,))
    assert cluster.phases() == {}, "the job is over"
    assert cluster.server.names(PODS) == left
