"""What `kubectl get` shows of a job, and what an HPA needs of it."""

from builders.world import EPOCH, World
from deepseek_operator.api.status import Columns
from deepseek_operator.api.times import rfc3339


def test_no_column_is_empty_from_the_first_plan_on() -> None:
    status = World(local=False, steps=5000).plan().status
    assert status.columns == Columns(step="0/5000", workers="0/3", servers="0/2", loss="-", checkpoint=None)


def test_a_job_that_counts_epochs_learns_its_steps_from_the_chief() -> None:
    world = World()
    assert world.plan().status.columns.step == "0/?"
    assert world.running(step=7).plan().status.columns.step == "7/20000"


def test_columns_follow_what_is_reported() -> None:
    world = World(steps=20_000).running()
    world.train(1200, loss=0.123456, checkpoint_time=EPOCH + 5.0).end("worker", 0)
    columns = world.plan().status.columns
    assert columns == Columns(
        step="1200/20000", workers="2/3", servers="2/2", loss="0.1235", checkpoint=rfc3339(EPOCH + 5.0)
    )


def test_a_loss_that_is_no_number_is_said() -> None:
    assert World().running().train(5, loss=float("nan")).plan().status.columns.loss == "nan"


def test_scale_counts_who_is_there_and_the_selector_finds_the_workers() -> None:
    world = World(local=False).running()
    assert world.status.selector == "deepseek.dev/job=digits,deepseek.dev/role=worker"
    assert (world.status.workers.replicas, world.status.workers.ready) == (3, 3)
    world.asks(workers=2).settle()
    assert (world.status.workers.desired, world.status.workers.replicas) == (2, 2)
    assert World().running().status.selector == ""
