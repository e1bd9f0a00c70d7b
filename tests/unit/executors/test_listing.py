"""Whom the executor lists while the watch is late: who was made, who was asked to leave, how each ended."""

import pytest

from builders.executor import S0, S1, W0, W1, Cluster
from builders.pods import deleted, ended, record, running, with_state
from deepseek_operator.kube.errors import Unreachable


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


def test_who_was_meant_to_be_asked_by_a_process_that_ended_before_it_did_is_asked() -> None:
    """The status says it before the pod is told: a leader may lose its Lease in between."""
    cluster = Cluster()
    cluster.run(W0, W1)
    cluster.becomes(W0, deleted)
    cluster.another(asked=(W0, W1))
    assert [one.terminating for one in cluster.seen().values()] == [True, False]
    cluster.apply(terminate=(W1,))
    assert [one.terminating for one in cluster.seen().values()] == [True, True]


def test_who_could_not_be_asked_is_asked_again() -> None:
    cluster = Cluster()
    cluster.run(W0)
    cluster.server.refuse["delete pods"] = [Unreachable("no answer")]
    with pytest.raises(Unreachable):
        cluster.apply(terminate=(W0,))
    assert not cluster.seen()["worker-0-0"].terminating
    assert cluster.apply(terminate=(W0,)) == ["delete pods digits-worker-0-0"]
    assert cluster.seen()["worker-0-0"].terminating


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


def test_a_pod_on_no_node_is_on_no_lost_one() -> None:
    cluster = Cluster()
    cluster.create(S0)
    cluster.lost.add("")
    assert not cluster.seen()["server-0-0"].node_lost
    assert with_state(running(), "Running", {})["status"]["phase"] == "Running"
