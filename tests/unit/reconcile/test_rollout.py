"""What members are made from changes while they train: all drain, all leave, all begin anew; no step is lost."""

import pytest

from builders.world import World, acts, true_conditions


def training() -> World:
    return World(local=False, generation="a").running()


def everybody_leaves(world: World) -> list[str]:
    for index in range(3):
        world.end("worker", index, 0, "Drained")
    done = world.drained(1).settle()
    for index in range(2):
        world.end("server", index, 0, "Drained")
    return done + world.settle()


def test_members_drain_and_leave_before_the_new_generation_begins_in_a_new_term() -> None:
    world = training().asks(generation="b")
    assert world.settle() == ["command drain-1"]
    assert true_conditions(world.status) == ["Restarting/RollingOut"]
    assert (world.status.phase, world.status.generation) == ("Restarting", "a")
    assert everybody_leaves(world) == [
        *(f"delete worker-{i}-0" for i in range(3)), "terminate server-0-0", "terminate server-1-0",
        "delete server-0-0", "delete server-1-0", "drop drain-1",
        "create server-0-1", "create server-1-1", *(f"create worker-{i}-1" for i in range(3)),
    ]  # fmt: skip
    assert world.status.generation == "b"
    assert world.register().settle() == ["term 2: 0-1,1-1"]
    world.open_term().settle()
    assert (world.status.phase, world.status.recoveries) == ("Running", ())
    assert [e.reason for e in world.status.events if e.reason in ("Draining", "Drained", "RolledOut")] == [
        "Draining",
        "Drained",
        "RolledOut",
    ]


def test_nobody_is_created_in_the_round_that_takes_the_new_generation() -> None:
    """What members are made from is read between two rounds."""
    world = World(local=False, generation="a")
    world.apply(world.plan())
    for member in list(world.members):
        del world.members[member]
    made = world.asks(generation="b").plan()
    assert (made.status.generation, made.create) == ("b", ())
    world.apply(made)
    assert len(world.plan().create) == 5


def test_a_job_that_cannot_start_rolls_without_a_checkpoint() -> None:
    world = World(local=False, generation="a")
    world.settle()
    assert world.asks(generation="b").settle() == [f"terminate worker-{i}-0" for i in range(3)]
    assert world.status.drain_outcome.startswith("nothing to save")
    assert "nothing to save" in world.status.message


def test_generation_changed_twice_in_one_drain_is_one_roll_out() -> None:
    world = training().asks(generation="b")
    world.settle()
    world.asks(generation="c")
    created = [word for word in everybody_leaves(world) if word.startswith("create")]
    assert len(created) == 5
    assert world.status.generation == "c"


def test_generation_changed_back_while_it_drains_starts_anew_all_the_same() -> None:
    """A chief that has drained gives no more leases."""
    world = training().asks(generation="b")
    world.settle()
    world.asks(generation="a")
    assert len([word for word in everybody_leaves(world) if word.startswith("create")]) == 5


def test_change_of_a_suspended_job_is_taken_at_once() -> None:
    world = training().asks(suspend=True)
    world.settle()
    everybody_leaves(world)
    assert world.plan().ended
    world.asks(generation="b").settle()
    assert (world.status.generation, world.status.phase) == ("b", "Suspended")
    assert world.plan().ended
    assert len([w for w in world.asks(suspend=False).settle() if w.startswith("create")]) == 5


def test_roll_out_gives_a_full_budget_and_forgets_failures() -> None:
    world = training()
    world.kill("worker", 0).settle()
    assert world.status.restarts == 1
    world.asks(generation="b").settle()
    world.settle()
    for member in [m for m in world.members if m.role == "worker"]:
        world.end("worker", member.index, 0, "Drained")
    world.drained(1).settle()
    for index in range(2):
        world.end("server", index, 0, "Drained")
    world.settle()
    assert (world.status.restarts, world.status.seats) == (0, {})


def test_on_one_machine_the_generation_is_only_noted() -> None:
    world = World(generation="a").running()
    assert acts(world.asks(generation="b").plan()) == []
    assert world.plan().status.generation == "b"


@pytest.mark.parametrize("drained", [True, False])
def test_outcome_of_a_drain_stands_in_the_condition(drained: bool) -> None:
    world = World(local=False).running().asks(suspend=True)
    world.settle()
    if drained:
        world.drained(1)
    else:
        world.later(61.0)
    world.settle()
    said = next(c.message for c in world.status.conditions if c.type == "Suspended")
    assert said.startswith("a checkpoint was written" if drained else "no checkpoint was written within 60 s")
    warned = [e.type for e in world.status.events if e.reason == "Drained"]
    assert warned == ["Normal" if drained else "Warning"]
