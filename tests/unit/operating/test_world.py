"""What is held of what watches and listings bring, and whose job is rung."""

from deepseek_operator.kube import JOBS, NODES, PODS, Object
from deepseek_operator.world import World


def job(name: str, uid: str, version: int = 1, **rest: object) -> Object:
    return {"metadata": {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": str(version)}, **rest}


def pod(name: str, owner: str, version: int = 1, node: str = "", uid: str = "") -> Object:
    reference = {"kind": "DeepseekJob", "uid": owner, "controller": True}
    about = {
        "name": name, "namespace": "ns", "uid": uid or f"uid-{name}", "resourceVersion": str(version),
        "ownerReferences": [reference],
    }  # fmt: skip
    return {"metadata": about, "spec": {"nodeName": node}}


def node(name: str, ready: bool, version: int = 1) -> Object:
    condition = {"type": "Ready", "status": "True" if ready else "Unknown"}
    return {
        "metadata": {"name": name, "uid": name, "resourceVersion": str(version)},
        "status": {"conditions": [condition]},
    }


class Ears:
    def __init__(self) -> None:
        self.rung: list[str] = []
        self.world = World(self.rung.append)

    def heard(self) -> list[str]:
        rung, self.rung[:] = list(self.rung), []
        return rung


def test_pods_are_their_owners_and_ring_them() -> None:
    ears = Ears()
    ears.world.put(JOBS, job("a", "ua"))
    ears.world.put(PODS, pod("a-worker-0-0", "ua"))
    ears.world.put(PODS, pod("b-worker-0-0", "ub"))
    assert ears.heard() == ["ua", "ua", "ub"]
    assert [p["metadata"]["name"] for p in ears.world.pods("ua")] == ["a-worker-0-0"]
    ears.world.drop(PODS, pod("a-worker-0-0", "ua", 2))
    assert (ears.heard(), ears.world.pods("ua"), ears.world.owners()) == (["ua"], [], ["ub"])


def test_older_states_and_repetitions_ring_nobody() -> None:
    ears = Ears()
    ears.world.put(JOBS, job("a", "ua", 5, spec={"x": 1}))
    ears.heard()
    ears.world.put(JOBS, job("a", "ua", 4, spec={"x": 0}))
    ears.world.put(JOBS, job("a", "ua", 5, spec={"x": 1}))
    assert ears.heard() == []
    held = ears.world.job("ua")
    assert held is not None
    assert held["spec"] == {"x": 1}


def test_a_job_of_the_same_name_is_another_one() -> None:
    ears = Ears()
    ears.world.put(JOBS, job("a", "old", 5))
    ears.heard()
    ears.world.put(JOBS, job("a", "new", 9))
    assert sorted(ears.heard()) == ["new", "old"]
    assert ears.world.job("old") is None
    ears.world.drop(JOBS, job("a", "old", 8))  # its deletion, told late
    assert ears.world.job("new") is not None


def test_a_listing_takes_away_what_a_watch_missed_but_not_what_came_meanwhile() -> None:
    ears = Ears()
    for name in ("stays", "goes"):
        ears.world.put(PODS, pod(name, "ua"))
    before = ears.world.names(PODS)
    ears.world.put(PODS, pod("comes", "ua"))
    ears.heard()
    ears.world.replace(PODS, before, [pod("stays", "ua")])
    assert sorted(p["metadata"]["name"] for p in ears.world.pods("ua")) == ["comes", "stays"]
    assert ears.heard() == ["ua"]


def test_a_listing_of_the_same_rings_nobody() -> None:
    ears = Ears()
    ears.world.put(PODS, pod("one", "ua"))
    ears.heard()
    ears.world.replace(PODS, ears.world.names(PODS), [pod("one", "ua")])
    assert ears.heard() == []


def test_a_node_that_is_lost_rings_the_jobs_that_have_pods_on_it_once() -> None:
    ears = Ears()
    ears.world.put(NODES, node("n1", True))
    ears.world.put(PODS, pod("a", "ua", node="n1"))
    ears.world.put(PODS, pod("b", "ub", node="n2"))
    ears.heard()
    ears.world.put(NODES, node("n1", True, 2))
    assert (ears.heard(), ears.world.node_lost("n1")) == ([], False)
    ears.world.put(NODES, node("n1", False, 3))
    assert (ears.heard(), ears.world.node_lost("n1")) == (["ua"], True)
    assert not ears.world.node_lost("never-seen")
    ears.world.drop(NODES, node("n1", False, 4))
    assert ears.heard() == ["ua"]
