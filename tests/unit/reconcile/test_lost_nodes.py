"""Members of nodes that are lost, and members that somebody else ends: replaced, and no try is used up."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from builders.world import World, acts
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import ExitRecord

SERVER, WORKER = Member("server", 1, 0), Member("worker", 2, 0)


def lose_node(world: World) -> World:
    for member in (SERVER, WORKER):
        world.members[member] = replace(world.members[member], node="n2", node_lost=True)
    return world


def lose_registrations(world: World) -> World:
    kept = {k: r for k, r in world.view.registrations.items() if k not in (("server", 1), ("worker", 2))}
    world.view = replace(world.view, registrations=MappingProxyType(kept))
    return world


def test_a_node_that_says_nothing_is_no_death() -> None:
    world = lose_node(World().running())
    assert world.settle() == []


def test_a_registration_that_has_ended_is_no_death() -> None:
    world = lose_registrations(World().running())
    assert world.settle() == []


def test_both_are() -> None:
    world = lose_registrations(lose_node(World().running()))
    assert world.settle() == ["delete server-1-0", "delete worker-2-0", "create server-1-1", "create worker-2-1"]
    failure = world.status.last_failure
    assert failure is not None
    assert (failure.reason, failure.message, failure.node) == ("NodeLost", "its node n2 is lost", "n2")
    assert world.status.restarts == 0
    assert [(r.role, r.cause) for r in world.status.recoveries] == [
        ("server", "its node n2 is lost"), ("worker", "its node n2 is lost"),
    ]  # fmt: skip
    world.register()
    assert world.settle() == ["term 2: 0-0,1-1"]


def test_silence_of_etcd_is_no_news() -> None:
    world = lose_registrations(lose_node(World().running())).silent_etcd()
    assert world.settle() == []


def test_after_etcd_was_emptied_all_have_time_to_register() -> None:
    world = lose_node(World().running()).emptied_etcd()
    assert [act for act in world.settle() if not act.startswith("term")] == []
    due = world.plan().requeue_after
    assert due is not None
    assert due <= 10.0
    world.later(10.0)
    assert world.step()[:2] == ["delete server-1-0", "delete worker-2-0"]


@pytest.mark.parametrize("record", [None, ExitRecord(code=0, reason="Stopped"), ExitRecord(code=143, reason="Error")])
def test_a_member_that_somebody_else_ends_is_replaced_and_not_counted(record: ExitRecord | None) -> None:
    world = World().running()
    leaving = replace(world.members[SERVER], disrupted="deleted by somebody else")
    world.members[SERVER] = leaving
    assert world.settle() == [], "it is waited for"
    assert not next(m for m in world.status.members if m.role == "server" and m.index == 1).terminating
    world.members[SERVER] = replace(leaving, phase="gone", exit=record, ended=world.seen().now.wall)
    assert world.settle() == ["delete server-1-0", "create server-1-1"]
    assert world.status.restarts == 0
    assert [r.cause for r in world.status.recoveries] == ["deleted by somebody else"]


def test_a_server_that_leaves_is_named_by_no_new_term() -> None:
    world = World().running()
    world.members[SERVER] = replace(world.members[SERVER], disrupted="deleted by somebody else")
    world.request("r", "roll_back", term=1)
    assert not any(act.startswith("term") for act in acts(world.plan()))


def test_the_users_mistake_is_one_wherever_it_happens() -> None:
    world = World().running()
    record = ExitRecord(code=65, reason="UserCodeRaised", message="train.py line 3")
    world.members[WORKER] = replace(world.members[WORKER], phase="gone", exit=record, disrupted="deleted", ended=1.0)
    world.settle()
    assert world.status.exit_code == 65
