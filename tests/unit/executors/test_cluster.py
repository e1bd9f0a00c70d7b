"""The executor against an API server in memory: what it lists while the watch is late, what stays, what comes again."""

from collections.abc import Callable
from typing import Any

import pytest

from builders.api_server import ApiServer, config_map
from builders.pods import MADE_AT, OWNER, cluster_job, deleted, ended, ending, record, running, waiting, with_state
from deepseek_operator.api.status import JobStatus
from deepseek_operator.executors.cluster import ClusterExecutor
from deepseek_operator.executors.inputs import Found, inputs_of, look
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.kube import (
    CONFIG_MAPS,
    NETWORK_POLICIES,
    PDBS,
    PODS,
    SECRETS,
    Exists,
    Forbidden,
    Invalid,
    NotLeading,
    Object,
    Unreachable,
)
from deepseek_operator.reconcile.observe import MemberSeen
from deepseek_operator.reconcile.plan import Plan
from deepseek_runtime.contract.names import Member

SETTINGS = Rendering(etcd=("etcd:2379",), store_uri="webdav://store:8080", store_key=b"k" * 32)
S0, S1, W0, W1 = Member("server", 0, 0), Member("server", 1, 0), Member("worker", 0, 0), Member("worker", 1, 0)


class Cluster:
    """An executor, the server it writes to, and a watch that shows what `show` last copied from that."""

    def __init__(self, asked: tuple[Member, ...] = (), **spec: Any) -> None:
        self.server = ApiServer()
        self.spec = spec
        self.shown: list[Object] = []
        self.lost: set[str] = set()
        self.time = MADE_AT + 1000.0
        self.executor = self.another(asked)

    def another(self, asked: tuple[Member, ...] = ()) -> ClusterExecutor:
        """As a process that starts in place of the first would make it."""
        self.executor = ClusterExecutor(
            self.server.api, self.inputs("g1"), pods=lambda: self.shown, node_lost=lambda node: node in self.lost,
            asked=asked, now=lambda: self.time,
        )  # fmt: skip
        return self.executor

    def inputs(self, generation: str) -> Any:
        job = cluster_job(**self.spec)
        return inputs_of(job, OWNER, SETTINGS, look(self.server.api, job, OWNER), generation)

    def show(self) -> None:
        self.shown = self.server.of(PODS)

    def becomes(self, member: Member, how: Callable[[Object], Object]) -> None:
        """The kubelet says how it is."""
        name = f"digits-{member}"
        pod = self.server.objects["pods", name]
        pod["spec"].setdefault("nodeName", "n1")
        self.server.put(how(pod))
        self.show()

    def vanishes(self, member: Member) -> None:
        del self.server.objects["pods", f"digits-{member}"]
        self.show()

    def create(self, *members: Member) -> None:
        self.apply(create=members)
        self.show()

    def run(self, *members: Member) -> None:
        self.create(*members)
        for member in members:
            self.becomes(member, running)
        self.executor.observe()

    def apply(self, finished: str = "", **acts: Any) -> list[str]:
        """The writes that it led to."""
        self.server.writes.clear()
        self.executor.apply(Plan(JobStatus(finished=finished), **acts))
        return list(self.server.writes)

    def seen(self) -> dict[str, MemberSeen]:
        return {str(one.member): one for one in self.executor.observe()}

    def phases(self) -> dict[str, str]:
        return {name: one.phase for name, one in self.seen().items()}


def test_pods_come_after_what_they_need() -> None:
    cluster = Cluster()
    assert cluster.apply(create=(S0, W0)) == [
        "apply networkpolicies digits-b8b8b8b8-members",
        "apply poddisruptionbudgets digits-b8b8b8b8-servers",
        "apply secrets digits-b8b8b8b8-store-worker-keys",
        "create configmaps digits-b8b8b8b8-config-g1",
        "create pods digits-server-0-0",
        "create pods digits-worker-0-0",
    ]
    assert cluster.apply(create=(S1,)) == ["create pods digits-server-1-0"], "once a process is enough"


def test_what_was_made_is_listed_before_the_watch_shows_it() -> None:
    cluster = Cluster()
    cluster.apply(create=(S0,))
    assert cluster.phases() == {"server-0-0": "starting"}
    cluster.show()
    cluster.becomes(S0, running)
    assert cluster.phases() == {"server-0-0": "running"}


def test_what_the_watch_never_shows_is_asked_for() -> None:
    cluster = Cluster()
    cluster.apply(create=(S0,))
    del cluster.server.objects["pods", "digits-server-0-0"]
    assert cluster.phases() == {"server-0-0": "starting"}
    cluster.time += 11.0
    gone = cluster.seen()["server-0-0"]
    assert (gone.phase, gone.disrupted) == ("gone", "its pod was deleted by somebody else")
    cluster.apply(delete=(S0,))
    assert cluster.phases() == {}


def test_a_second_look_reads_and_writes_nothing() -> None:
    cluster = Cluster()
    cluster.run(S0, W0)
    first = cluster.executor.observe()
    cluster.server.reads.clear()
    cluster.server.writes.clear()
    assert cluster.executor.observe() == first
    assert (cluster.server.reads, cluster.server.writes) == ([], [])


def test_another_process_sees_the_same() -> None:
    cluster = Cluster()
    cluster.run(S0, W0)
    cluster.becomes(W0, lambda pod: ended(1, of=pod))
    before = cluster.executor.observe()
    cluster.another()
    assert cluster.executor.observe() == before


# --- ends


def test_an_end_is_listed_until_a_plan_deletes_it() -> None:
    cluster = Cluster()
    cluster.run(W0)
    cluster.becomes(W0, lambda pod: ended(0, message=record(0, "Drained"), of=pod))
    for _ in range(2):
        seen = cluster.seen()["worker-0-0"]
        assert (seen.phase, seen.exit and seen.exit.reason) == ("gone", "Drained")
    assert cluster.apply(delete=(W0,)) == ["delete pods digits-worker-0-0 grace 0"]
    assert cluster.phases() == {}
    cluster.show()
    assert cluster.phases() == {}


def test_who_is_killed_is_not_listed_any_more() -> None:
    cluster = Cluster()
    cluster.run(W0)
    assert cluster.apply(delete=(W0,)) == ["delete pods digits-worker-0-0 grace 1"]
    assert cluster.phases() == {}
    cluster.show()
    assert cluster.phases() == {}, "though its node still ends it"
    cluster.vanishes(W0)
    assert cluster.phases() == {}


def test_who_was_asked_to_leave() -> None:
    cluster = Cluster()
    cluster.run(W0)
    assert cluster.apply(terminate=(W0,)) == ["delete pods digits-worker-0-0"]
    assert cluster.seen()["worker-0-0"].terminating
    cluster.show()
    cluster.vanishes(W0)
    gone = cluster.seen()["worker-0-0"]
    assert (gone.phase, gone.terminating, gone.disrupted) == ("gone", True, "")


def test_who_was_asked_by_an_earlier_process() -> None:
    cluster = Cluster()
    cluster.run(W0, W1)
    for member in (W0, W1):
        cluster.becomes(member, deleted)
    cluster.another(asked=(W0,))
    seen = cluster.seen()
    assert (seen["worker-0-0"].terminating, seen["worker-0-0"].disrupted) == (True, "")
    assert (seen["worker-1-0"].terminating, seen["worker-1-0"].disrupted != "") == (False, True)


def test_a_pod_that_somebody_deleted_at_once() -> None:
    cluster = Cluster()
    cluster.run(S0)
    cluster.vanishes(S0)
    first = cluster.seen()["server-0-0"]
    cluster.time += 5.0
    assert cluster.seen()["server-0-0"] == first, "it ended once"
    assert cluster.apply(delete=(S0,)) == []
    assert cluster.phases() == {}


def test_how_it_ended_is_remembered_though_its_pod_goes() -> None:
    cluster = Cluster()
    cluster.run(W0)
    cluster.becomes(W0, lambda pod: ended(65, message=record(65, "UserCodeRaised"), of=pod))
    cluster.executor.observe()
    cluster.vanishes(W0)
    exit = cluster.seen()["worker-0-0"].exit
    assert exit is not None
    assert exit.code == 65


# --- lost nodes


def test_a_pod_of_a_lost_node_is_forgotten_by_the_server() -> None:
    cluster = Cluster()
    cluster.run(S0)
    cluster.lost.add("n1")
    assert cluster.seen()["server-0-0"].node_lost
    assert cluster.apply(delete=(S0,)) == ["delete pods digits-server-0-0 grace 0"]
    cluster.show()
    assert cluster.phases() == {}


def test_one_that_was_to_be_killed_when_its_node_was_lost() -> None:
    """Nobody ends it there: it is listed again, so that a plan can have it forgotten."""
    cluster = Cluster()
    cluster.run(S0)
    cluster.apply(delete=(S0,))
    cluster.show()
    cluster.lost.add("n1")
    assert cluster.seen()["server-0-0"].node_lost
    assert cluster.apply(delete=(S0,)) == ["delete pods digits-server-0-0 grace 0"]
    assert cluster.phases() == {}


# --- what stays to be looked at


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


# --- what cannot be made


@pytest.mark.parametrize("error", [Forbidden('exceeded quota: "q"'), Invalid("spec.x: Invalid value")])
def test_a_pod_that_is_refused_blocks_and_is_tried_again(error: Exception) -> None:
    cluster = Cluster()
    cluster.server.refuse["create pods"] = [error]  # type: ignore[list-item]
    cluster.apply(create=(S0, S1))
    seen = cluster.seen()
    assert [(one.made, one.phase) for one in seen.values()] == [(False, "starting")] * 2
    waiting = seen["server-0-0"].waiting
    assert waiting is not None
    assert waiting.reason == "PodRefused"
    assert str(error) in waiting.message
    cluster.time += 5.0
    cluster.create(S0, S1)
    assert all(one.made and one.waiting is None for one in cluster.seen().values())


def test_an_api_server_that_does_not_answer_blocks_nothing_yet() -> None:
    cluster = Cluster()
    cluster.server.refuse["create configmaps"] = [Unreachable("no answer")]
    cluster.apply(create=(S0,))
    assert (cluster.seen()["server-0-0"].made, cluster.seen()["server-0-0"].waiting) == (False, None)
    assert cluster.apply(create=(S0,))[-1] == "create pods digits-server-0-0"


def test_a_create_whose_answer_was_lost() -> None:
    cluster = Cluster()
    cluster.apply(create=(S0,))
    again = cluster.another()
    again.apply(Plan(JobStatus(), create=(S0,)))
    assert cluster.phases() == {"server-0-0": "starting"}
    assert cluster.server.names(PODS) == ["digits-server-0-0"]


def test_a_pod_of_that_name_that_is_somebody_else_s() -> None:
    cluster = Cluster()
    other = running()
    other["metadata"] |= {"name": "digits-server-0-0", "ownerReferences": [{"uid": "another"}]}
    cluster.server.put(other)
    cluster.apply(create=(S0,))
    blocked = cluster.seen()["server-0-0"].waiting
    assert blocked is not None
    assert "not this job's" in blocked.message


def test_one_that_could_not_be_made_is_forgotten_when_nobody_wants_it() -> None:
    for act in ("terminate", "delete"):
        cluster = Cluster()
        cluster.server.refuse["create pods"] = [Forbidden("no")]
        cluster.apply(create=(W0,))
        acts: dict[str, Any] = {act: (W0,)}
        assert cluster.apply(**acts) == []
        assert cluster.phases() == {}


def test_a_deposed_leader_stops() -> None:
    cluster = Cluster()
    cluster.server.refuse["create pods"] = [NotLeading("not any more")]
    with pytest.raises(NotLeading):
        cluster.apply(create=(S0,))
    assert cluster.phases() == {}


def test_a_delete_that_fails_is_planned_again() -> None:
    cluster = Cluster()
    cluster.run(W0)
    cluster.becomes(W0, lambda pod: ended(0, of=pod))
    cluster.executor.observe()
    cluster.server.refuse["delete pods"] = [Unreachable("no answer")]
    with pytest.raises(Unreachable):
        cluster.apply(delete=(W0,))
    assert cluster.phases() == {"worker-0-0": "gone"}


# --- generations, code, volumes


def test_what_an_older_generation_had_goes_when_no_pod_has_it() -> None:
    cluster = Cluster()
    cluster.run(S0)
    cluster.executor.use(cluster.inputs("g2"))
    cluster.apply(create=(Member("server", 0, 1),))
    cluster.show()
    assert cluster.server.names(CONFIG_MAPS) == ["digits-b8b8b8b8-config-g1", "digits-b8b8b8b8-config-g2"]
    cluster.vanishes(S0)
    cluster.executor.use(cluster.inputs("g3"))
    cluster.apply(create=(Member("server", 0, 2),))
    assert cluster.server.names(CONFIG_MAPS) == ["digits-b8b8b8b8-config-g2", "digits-b8b8b8b8-config-g3"]


def test_servers_that_are_scaled_to_one_have_no_budget() -> None:
    cluster = Cluster()
    cluster.create(S0)
    assert cluster.server.names(PDBS) == ["digits-b8b8b8b8-servers"]
    cluster.spec["servers"] = {"replicas": 1}
    cluster.executor.use(cluster.inputs("g1"))
    cluster.create(W0)
    assert cluster.server.names(PDBS) == []
    assert cluster.server.names(NETWORK_POLICIES) == ["digits-b8b8b8b8-members"]
    assert cluster.server.names(SECRETS) == ["digits-b8b8b8b8-store-worker-keys"]


def test_the_code_is_copied_and_outlives_the_user_s() -> None:
    cluster = Cluster()
    cluster.spec["training"] = {"script": "train.py", "code": {"configMap": "mine"}, "steps": 10}
    missing = cluster.inputs("g1")
    assert missing.obstacle is not None
    assert missing.obstacle.reason == "CodeMissing"
    assert "kubectl create configmap mine" in missing.obstacle.remedy
    cluster.executor.use(missing)
    assert cluster.executor.obstacle() == missing.obstacle

    cluster.server.put(config_map("mine", train_py="print(1)"), CONFIG_MAPS)
    cluster.executor.use(cluster.inputs("g1"))
    assert cluster.executor.obstacle() is None
    cluster.create(S0)
    code = next(name for name in cluster.server.names(CONFIG_MAPS) if "-code-" in name)
    assert cluster.server.objects["configmaps", code]["data"] == {"train.py": "print(1)"}
    del cluster.server.objects["configmaps", "mine"]
    found = look(cluster.server.api, cluster_job(**cluster.spec), OWNER)
    assert found.code is not None
    assert dict(found.code.files) == {"train.py": b"print(1)"}
    assert found.obstacle is None


def test_the_claim_is_looked_at() -> None:
    cluster = Cluster(checkpoint={"storage": {"pvc": {"claimName": "shared"}}})
    assert cluster.executor.obstacle() is not None
    assert look(cluster.server.api, cluster_job(), OWNER) == Found()


def test_a_mount_that_hangs_is_told_in_the_kubelet_s_words() -> None:
    cluster = Cluster()
    cluster.create(S0)
    stuck = {"type": "PodReadyToStartContainers", "status": "False"}
    late: dict[str, Any] = {"startTime": "2026-11-24T10:00:00Z", "conditions": [stuck]}
    cluster.becomes(S0, lambda pod: waiting("ContainerCreating", of=pod, **late))
    uid = cluster.shown[0]["metadata"]["uid"]
    about = {"involvedObject": {"uid": uid}, "lastTimestamp": "2026-11-24T10:00:10Z"}
    cluster.server.events = [
        {**about, "reason": "Scheduled", "message": "Successfully assigned"},
        {**about, "reason": "FailedMount", "message": 'MountVolume.SetUp failed for "x": secret "y" not found'},
    ]
    for _ in range(3):
        told = cluster.seen()["server-0-0"].waiting
        assert told is not None
        assert told.message == 'MountVolume.SetUp failed for "x": secret "y" not found'
    assert cluster.server.reads.count("list events") == 1
    cluster.time += 20.0
    cluster.executor.observe()
    assert cluster.server.reads.count("list events") == 2


def test_an_unknown_name_is_refused_by_the_server_alone() -> None:
    """Exists is success for a pod of our own only (see above); for ConfigMaps the name has the job's uid in it."""
    cluster = Cluster()
    cluster.server.refuse["create configmaps"] = [Exists("there already")]
    assert cluster.apply(create=(S0,))[-1] == "create pods digits-server-0-0"


def test_a_pod_on_no_node_is_on_no_lost_one() -> None:
    cluster = Cluster()
    cluster.create(S0)
    cluster.lost.add("")
    assert not cluster.seen()["server-0-0"].node_lost
    assert with_state(running(), "Running", {})["status"]["phase"] == "Running"
