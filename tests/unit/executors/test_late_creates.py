"""A create that a deposed leader sent arrives when the next one has already filled the seat: it is found and removed.

(Where the chart's admission policy is, the API server refuses it: tests/cluster/operator/test_deposed.py.)
"""

import copy

import pytest

from builders.pod_world import PodWorld
from builders.pods import running
from deepseek_operator.kube import PODS, Object


def sent_too_late(world: PodWorld, role: str, index: int) -> Object:
    """What the leader before had decided is in the status, its pod is not there; the next leader fills the seat."""
    seat = f"{role}-{index}"
    like = world.server.objects["pods", f"digits-{seat}-0"]
    del world.server.objects["pods", f"digits-{seat}-0"]
    late = copy.deepcopy(like)
    late["metadata"] |= {"name": f"digits-{seat}-1", "uid": f"late-{seat}"}
    late["metadata"]["labels"]["deepseek.dev/incarnation"] = "1"
    late["status"] = {"phase": "Pending"}
    incarnations = {**world.status.incarnations, f"{role}/{index}": 1}
    world.status = world.status.model_copy(update={"incarnations": incarnations})
    assert f"create pods digits-{seat}-2" in world.round()
    return late


@pytest.mark.parametrize("role", ["worker", "server"])
@pytest.mark.parametrize("started", [False, True])
def test_it_is_removed_and_nobody_else(role: str, started: bool) -> None:
    world = PodWorld().begin()
    late = sent_too_late(world, role, 1)
    kept = [name for name in world.server.names(PODS) if name != late["metadata"]["name"]]
    world.server.put(running(late) if started else late)
    assert world.round() == [f"delete pods {late['metadata']['name']} grace 1"]
    assert [p["metadata"]["name"] for p in world.server.of(PODS) if "deletionTimestamp" not in p["metadata"]] == kept
    assert world.round() == []
    assert world.status.restarts == 0


@pytest.mark.parametrize("role", ["worker", "server"])
def test_of_a_seat_that_is_not_wanted_any_more(role: str) -> None:
    """Scaled down between the two leaders."""
    world = PodWorld().begin()
    late = sent_too_late(world, role, 1)
    world.asks(**{f"{role}s": 1})
    world.round()
    world.server.put(late)
    world.round()
    left = [p["metadata"]["name"] for p in world.server.of(PODS) if "deletionTimestamp" not in p["metadata"]]
    assert late["metadata"]["name"] not in left


def test_of_a_job_that_has_been_suspended() -> None:
    world = PodWorld().begin()
    late = sent_too_late(world, "worker", 1)
    world.asks(suspend=True, kill=True)
    world.round()
    world.server.objects.clear()
    world.round()
    world.server.put(late)
    world.round()
    assert "deletionTimestamp" in world.server.objects["pods", late["metadata"]["name"]]["metadata"]
