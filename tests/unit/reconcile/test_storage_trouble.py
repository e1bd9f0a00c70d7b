"""Trouble with the checkpoint storage, as the chief tells it, in conditions and in the one sentence of `dsj why`."""

from builders.world import World, true_conditions


def test_training_without_new_checkpoints_is_degraded() -> None:
    world = World().running()
    world.train(40, checkpoint_problem="no space is left").settle()
    assert true_conditions(world.status) == ["Running/Training", "Degraded/CheckpointFailed"]
    assert world.status.message == "training goes on without new checkpoints: no space is left"
    world.train(60).settle()
    assert true_conditions(world.status) == ["Running/Training"]
    assert world.status.message == ""


def test_a_last_checkpoint_that_cannot_be_stored_blocks() -> None:
    world = World().running()
    world.train(100, steps=100, checkpoint_problem="no space is left").settle()
    assert "Blocked/CheckpointFailed" in true_conditions(world.status)
    assert world.status.message.startswith("all steps are done, but the last checkpoint cannot be stored yet: no space")


def test_a_drain_says_what_keeps_it() -> None:
    world = World().running().asks(suspend=True)
    world.train(40, checkpoint_problem="no space is left").settle()
    assert world.status.message.endswith("so far it could not be: no space is left")


def test_a_term_that_cannot_open_is_blocked() -> None:
    world = World().running().kill("server", 1)
    world.settle()
    world.register().settle()
    assert world.status.opened < world.status.term.number
    world.train(40, opening_problem="s3://b: cannot be reached").settle()
    assert "Blocked/StoreUnreachable" in true_conditions(world.status)
    assert world.status.message == "s3://b: cannot be reached"
    world.open_term().settle()
    assert "Blocked/StoreUnreachable" not in true_conditions(world.status)
