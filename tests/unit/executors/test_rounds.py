"""Plans and pods together: what a plan asks for, an API server keeps, and the next plan has nothing to add."""

from collections.abc import Callable

from builders.api_server import ApiServer
from builders.pods import OWNER, cluster_job, ended, record, running
from builders.world import EPOCH, World, true_conditions
from deepseek_operator.executors.cluster import ClusterExecutor
from deepseek_operator.executors.inputs import Found, inputs_of
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.kube import PODS, Forbidden, Object
from deepseek_runtime.contract.names import Member

SETTINGS = Rendering(etcd=("etcd:2379",), store_uri="s3://bucket")


class PodWorld(World):
    """A model world whose members are pods: etcd and the clock are the model's, members the executor's."""

    def __init__(self, servers: int = 2, workers: int = 2) -> None:
        super().__init__(servers, workers, local=False)
        self.server = ApiServer()
        job = cluster_job(servers={"replicas": servers}, workers={"replicas": workers})
        inputs = inputs_of(job, OWNER, SETTINGS, Found(), "g1")
        self.executor = ClusterExecutor(
            self.server.api, inputs, pods=lambda: self.server.of(PODS), node_lost=lambda node: node in self.lost,
            now=lambda: EPOCH + self.time,
        )  # fmt: skip
        self.lost: set[str] = set()

    def round(self) -> list[str]:
        """Until nothing is to be done at this moment; what the API server was asked to write about pods."""
        self.server.writes.clear()
        for _ in range(10):
            self.members = {one.member: one for one in self.executor.observe()}
            made = self.plan()
            if not made.writes(self.status):
                return [write for write in self.server.writes if " pods " in write]
            self.executor.apply(made)
            known = dict(self.members)
            self.apply(made)
            self.members = known
        raise AssertionError(f"does not settle: {made.events}")

    def becomes(self, member: str, how: Callable[[Object], Object]) -> None:
        pod = self.server.objects["pods", f"digits-{member}"]
        pod["spec"].setdefault("nodeName", "n-" + member)
        self.server.put(how(pod))

    def begin(self) -> "PodWorld":
        self.round()
        for pod in self.server.of(PODS):
            self.becomes(pod["metadata"]["name"].removeprefix("digits-"), running)
        self.round()
        self.register()
        self.round()
        self.open_term().train(100)
        self.round()
        return self


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
