"""Keys of the members that are lost under them: nobody can be added who is believed, so all begin anew."""

import pytest

from builders.world import World, true_conditions


def training() -> World:
    return World(local=False, generation="a", keys="k1").running()


def reasons(world: World) -> list[str]:
    words = ("KeysLost", "Draining", "Drained", "RolledOut")
    return [event.reason for event in world.status.events if event.reason in words]


def everybody_leaves(world: World) -> list[str]:
    for index in range(3):
        world.end("worker", index, 0, "Drained")
    done = world.drained(1).settle()
    for index in range(2):
        world.end("server", index, 0, "Drained")
    return done + world.settle()


def test_the_first_keys_are_simply_taken_also_those_of_a_job_of_an_older_operator() -> None:
    world = training()
    assert world.status.keys == "k1"
    older = World(local=False, generation="a", keys="").running()
    assert older.asks(keys="k1").settle() == []
    assert older.status.keys == "k1"


@pytest.mark.parametrize("now", [None, "k2"])
def test_all_drain_and_nobody_is_made_before_new_keys_are_there(now: str | None) -> None:
    world = training().asks(keys=now)
    assert world.settle() == ["command drain-1"]
    assert true_conditions(world.status) == ["Restarting/RollingOut"]
    assert "the Secrets with their keys are gone" in next(
        c.message for c in world.status.conditions if c.type == "Restarting"
    )
    left = everybody_leaves(world)
    made = [f"create server-{i}-1" for i in range(2)] + [f"create worker-{i}-1" for i in range(3)]
    if now is None:
        assert not any(word.startswith("create") for word in left)
        assert world.settle() == []
        left = world.asks(keys="k2").settle()
    assert [word for word in left if word.startswith("create")] == made
    assert world.status.keys == "k2"
    assert reasons(world) == ["KeysLost", "Draining", "Drained", "RolledOut"]
    world.register().settle()
    world.open_term().settle()
    assert (world.status.phase, world.status.restarts, world.status.term.number) == ("Running", 0, 2)


def test_a_member_lost_meanwhile_is_not_replaced_and_costs_no_try() -> None:
    world = training().asks(keys=None)
    world.kill("worker", 1)
    done = world.settle()
    assert not any(word.startswith("create") for word in done)
    assert world.status.restarts == 0


def test_a_job_of_an_older_operator_whose_secrets_are_gone() -> None:
    world = World(local=False, generation="a", keys="").running().asks(keys=None)
    assert world.settle() == ["command drain-1"]


def test_a_suspended_job_and_one_that_has_ended_take_no_notice() -> None:
    world = training().asks(suspend=True)
    world.settle()
    everybody_leaves(world)
    assert world.asks(keys="k2").settle() == []
    assert (world.status.phase, world.status.keys) == ("Suspended", "k2")
    assert "KeysLost" not in reasons(world)
    ended = training().finish(1)
    ended.settle()
    assert "KeysLost" not in reasons(ended)
    assert ended.asks(keys=None).settle() == []
