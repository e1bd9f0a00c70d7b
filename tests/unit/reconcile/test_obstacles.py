"""What keeps members from starting: named with role, index, reason and remedy, and tried again without end."""

from dataclasses import replace

from builders.world import EPOCH, World, true_conditions
from deepseek_operator.api.conditions import get
from deepseek_operator.reconcile.observe import Obstacle
from deepseek_runtime.contract.names import Member

PULL = Obstacle("ImageCannotBePulled", "the image x:1 cannot be pulled: not found", "Mend spec.image")
SERVER = Member("server", 1, 0)


def waits(world: World, obstacle: Obstacle | None, **rest: object) -> World:
    seen = replace(world.members[SERVER], phase="starting", waiting=obstacle)
    world.members[SERVER] = replace(seen, **rest)  # type: ignore[arg-type]
    return world


def test_a_member_that_cannot_start_is_named() -> None:
    world = World()
    world.settle()
    waits(world, PULL).settle()
    assert true_conditions(world.status) == ["Blocked/ImageCannotBePulled"]
    told = "server 1: the image x:1 cannot be pulled: not found. Mend spec.image"
    assert world.status.message == told
    blocked = get(world.status.conditions, "Blocked")
    assert blocked is not None
    assert blocked.message == told + " (docs/reasons/ImageCannotBePulled.md)"
    assert [(e.type, e.message) for e in world.status.events if e.reason == "ImageCannotBePulled"] == [
        ("Warning", told)
    ]
    waits(world, None).settle()
    assert true_conditions(world.status) == []


def test_nothing_is_written_while_it_stays_so() -> None:
    world = World()
    world.settle()
    waits(world, PULL).settle()
    for _ in range(3):
        assert not world.later(100.0).plan().writes(world.status)


def test_what_may_pass_by_itself_is_not_told_at_once() -> None:
    world = World()
    world.settle()
    waits(world, replace(PULL, after=EPOCH + world.time + 5.0)).settle()
    assert true_conditions(world.status) == []
    assert world.plan().requeue_after == 5.0
    world.later(5.0).settle()
    assert true_conditions(world.status) == ["Blocked/ImageCannotBePulled"]


def test_who_leaves_anyway_blocks_nobody() -> None:
    world = World()
    world.settle()
    waits(world, PULL, terminating=True).settle()
    assert true_conditions(world.status) == []


def test_a_member_that_is_pulled_for_long_is_not_called_silent() -> None:
    world = World()
    world.settle()
    waits(world, None)
    world.later(600.0).settle()
    silent = get(world.status.conditions, "Blocked")
    assert silent is not None
    assert silent.message.startswith("server 0 has not registered")


def test_an_obstacle_of_the_whole_job_keeps_all_from_being_made() -> None:
    world = World()
    world.obstacle = Obstacle("StorageNotShared", "the claim c is ReadWriteOnce", "Use a ReadWriteMany claim")
    assert world.settle() == []
    assert true_conditions(world.status) == ["Blocked/StorageNotShared"]
    assert world.status.message == "the claim c is ReadWriteOnce. Use a ReadWriteMany claim"
    world.obstacle = None
    assert len(world.settle()) == 5


def test_an_obstacle_does_not_touch_who_lives() -> None:
    world = World().running()
    world.obstacle = Obstacle("CodeMissing", "no code", "Make it")
    world.kill("worker", 1)
    assert world.settle() == ["delete worker-1-0"]
    world.obstacle = None
    assert world.settle() == ["create worker-1-1"]


def test_a_member_that_could_not_be_made_is_tried_again_under_its_name() -> None:
    world = World(servers=2, workers=1)
    world.settle()
    waits(
        world, Obstacle("PodRefused", "quota", "Raise it"), made=False, since=EPOCH + world.time, pid=None, started=""
    )
    world.settle()
    assert true_conditions(world.status) == ["Blocked/PodRefused"]
    assert world.plan().requeue_after == 5.0
    world.later(5.0)
    assert world.plan().create == (SERVER,)
    assert [m.member for m in world.seen().living("server")] == [Member("server", 0, 0), SERVER]
    assert world.settle() == ["create server-1-0"]
    assert world.members[SERVER].made
    assert sum((m.role, m.index) == ("server", 1) for m in world.status.members) == 1


def test_one_that_could_not_be_made_is_forgotten_when_it_is_not_wanted() -> None:
    world = World(servers=2, workers=2)
    world.settle()
    worker = Member("worker", 1, 0)
    world.members[worker] = replace(world.members[worker], phase="starting", made=False, since=EPOCH + world.time)
    assert world.asks(workers=1).step() == ["terminate worker-1-0"]
