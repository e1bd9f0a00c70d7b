"""Plans and pods together: what a plan asks for, an API server keeps, and the next plan has nothing to add."""

from builders.pod_world import PodWorld
from builders.pods import ended, record
from builders.world import true_conditions
from deepseek_operator.kube import PODS, Forbidden
from deepseek_runtime.contract.names import Member


def test_a_job_comes_up_and_is_left_alone() -> None:
    world = PodWorld().begin()
    assert true_conditions(world.status) == ["Running/Training"]
    assert world.later(30.0).round() == []
    assert world.server.names(PODS) == [
        "digits-server-0-0",
        "digits-server-1-0",
        "digits-worker-0-0",
        "digits-worker-1-0",
    ]


def test_a_worker_that_crashes() -> None:
    world = PodWorld().begin()
    world.becomes("worker-1-0", lambda pod: ended(1, message=record(1, "WorkerCrashed", "boom"), of=pod))
    assert world.round() == ["apply pods digits-worker-1-0", "create pods digits-worker-1-1"]
    assert world.status.restarts == 1
    failure = world.status.last_failure
    assert failure is not None
    assert (failure.reason, failure.message, failure.node) == ("WorkerCrashed", "boom", "n-worker-1-0")
    assert world.round() == []


def test_a_server_that_somebody_deletes() -> None:
    world = PodWorld().begin()
    del world.server.objects["pods", "digits-server-1-0"]
    assert world.round() == ["create pods digits-server-1-1"]
    assert world.status.restarts == 0
    assert [r.cause for r in world.status.recoveries] == ["its pod was deleted by somebody else"]


def test_a_node_that_is_lost() -> None:
    world = PodWorld().begin()
    world.lost.add("n-server-1-0")
    assert world.round() == []
    world.view = type(world.view)(
        **{name: getattr(world.view, name) for name in ("term", "state", "progress", "listed_at")},
        registrations={key: r for key, r in world.view.registrations.items() if key != ("server", 1)},
    )
    assert world.round() == ["delete pods digits-server-1-0 grace 0", "create pods digits-server-1-1"]
    assert world.round() == []


def test_a_quota_that_is_raised() -> None:
    world = PodWorld(servers=1, workers=1)
    world.server.refuse["create pods"] = [Forbidden("exceeded quota: q")]
    world.round()
    assert true_conditions(world.status) == ["Blocked/PodRefused"]
    assert world.round() == []
    world.later(5.0).round()
    assert true_conditions(world.status) == []
    assert world.server.names(PODS) == ["digits-server-0-0", "digits-worker-0-0"]
    assert world.status.incarnations == {"server/0": 0, "worker/0": 0}
    assert Member("server", 0, 0) in world.members


def test_a_user_s_mistake_ends_the_job_and_stays_to_be_looked_at() -> None:
    world = PodWorld().begin()
    world.becomes("worker-0-0", lambda pod: ended(65, message=record(65, "UserCodeRaised", "line 3"), of=pod))
    world.round()
    assert world.status.exit_code == 65
    left = [pod for pod in world.server.of(PODS) if "deletionTimestamp" not in pod["metadata"]]
    assert [pod["metadata"]["name"] for pod in left] == ["digits-worker-0-0"]
    assert world.members == {}
    assert world.later(60.0).round() == []
