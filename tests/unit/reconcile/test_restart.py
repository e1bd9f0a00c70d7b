"""Whose fault, the budget, the back-off."""

import pytest

from builders.world import EPOCH, Given, World, acts
from deepseek_operator.reconcile.policies.restart import backoff
from deepseek_runtime.contract.names import Member

REPLACED: dict[str, tuple[Given, list[str]]] = {
    "killed worker": (lambda w: w.kill("worker", 1), ["delete worker-1-0", "create worker-1-1"]),
    "killed server": (lambda w: w.kill("server", 0), ["delete server-0-0", "create server-0-1"]),
    "worker exits 1": (lambda w: w.end("worker", 2, 1), ["delete worker-2-0", "create worker-2-1"]),
    "out of memory of the node": (lambda w: w.end("worker", 0, 137), ["delete worker-0-0", "create worker-0-1"]),
    "drained by somebody else": (
        lambda w: w.end("worker", 0, 0, "Drained"),
        ["delete worker-0-0", "create worker-0-1"],
    ),
    "server exits 0 while unfinished": (
        lambda w: w.end("server", 1, 0, "Finished").later(3),
        ["delete server-1-0", "create server-1-1"],
    ),
    "worker exits 0 while unfinished": (
        lambda w: w.end("worker", 1, 0, "Finished").later(3),
        ["delete worker-1-0", "create worker-1-1"],
    ),
    "exit 0, finished may be on its way": (lambda w: w.end("worker", 1, 0, "Finished"), []),
    "two at once": (
        lambda w: w.kill("server", 1).kill("worker", 0),
        ["delete server-1-0", "delete worker-0-0", "create server-1-1", "create worker-0-1"],
    ),
    "killed while etcd is silent": (
        lambda w: w.silent_etcd().kill("server", 1),
        ["delete server-1-0", "create server-1-1"],
    ),
    "etcd silent for long, nobody gone": (lambda w: w.silent_etcd().later(600), []),
    "registration lost, nobody gone": (lambda w: w.emptied_etcd(), ["term 1: 0-0,1-0"]),
}


@pytest.mark.parametrize("name", REPLACED)
def test_replaced(name: str) -> None:
    given, expected = REPLACED[name]
    world = World().running()
    given(world)
    assert acts(world.plan()) == expected
    assert world.plan().status.exit_code is None


@pytest.mark.parametrize("code", [64, 65, 66, 78])
def test_users_mistake_ends_the_job_with_the_members_message(code: int) -> None:
    world = World().running().end("worker", 1, code, "UserCodeRaised", "train.py line 3: ValueError: no such column")
    made = world.plan()
    assert made.status.exit_code == code
    assert made.status.message == "worker 1: train.py line 3: ValueError: no such column"
    assert made.status.last_failure is not None
    assert made.status.last_failure.reason == "UserCodeRaised"
    assert not made.create
    world.apply(made).settle()
    assert world.members == {}
    assert world.plan().ended
    assert world.status.phase == "Failed"


def test_the_same_exception_in_the_same_range_twice_is_the_users_mistake() -> None:
    world = World().running()
    world.end("worker", 1, 1, "UserCodeRaised", "worker 1: bad sample", range=40).settle()
    world.end("worker", 2, 1, "UserCodeRaised", "worker 2: bad sample", range=40)
    made = world.plan()
    assert made.status.exit_code == 65
    assert "range 40 twice" in made.status.message


@pytest.mark.parametrize("second", [("UserCodeRaised", "bad sample", 41), ("Other", "bad sample", 40)])
def test_another_range_or_exception_is_not(second: tuple[str, str, int]) -> None:
    world = World().running()
    world.end("worker", 1, 1, "UserCodeRaised", "bad sample", range=40).settle()
    reason, message, range_ = second
    world.end("worker", 2, 1, reason, message, range=range_)
    assert world.plan().status.exit_code is None


@pytest.mark.parametrize(
    "reason,first,code", [("UserCodeRaised", 0, 65), ("UserCodeRaised", 1, None), ("Crashed", 0, None)]
)
def test_outside_of_any_range_it_is_evaluate_that_raised(reason: str, first: int, code: int | None) -> None:
    """Not when it came before anything was trained (out of memory), nor when it is not user code."""
    world = World().running()
    world.end("worker", 1, 1, reason, "no test data", first_range=first).settle()
    world.end("worker", 2, 1, reason, "no test data", first_range=first)
    made = world.plan()
    assert made.status.exit_code == code
    if code:
        assert made.status.message == "worker 2: no test data (the same twice)"


def test_budget_is_the_jobs_and_ends_it() -> None:
    world = World(backoff_limit=2).running()
    for index in (0, 1):
        world.kill("worker", index).settle()
        world.later(60)
    assert world.status.restarts == 2
    world.kill("worker", 2)
    made = world.plan()
    assert made.status.exit_code == 1
    assert "backoffLimit is 2" in made.status.message
    assert "killed by signal 9" in made.status.message


def test_drained_before_it_did_anything_again_and_again_is_a_crash_loop() -> None:
    """As when it sends SIGTERM to itself: replaced at once each time, it would be so for ever."""
    world = World(backoff_limit=2).running()
    world.end("worker", 1, 0, "Drained").settle()
    assert world.status.restarts == 0, "it had trained"
    for incarnation in (1, 2):
        assert world.end("worker", 1, 0, "Drained").settle()
        assert world.status.restarts == incarnation
        world.later(60).settle()
    made = world.end("worker", 1, 0, "Drained").plan()
    assert made.status.exit_code == 1
    assert (
        "worker 1: exit 0, Drained: asked to leave by somebody else before it had done any work" in made.status.message
    )


Loss = tuple[float, str, int, int | None, str]
"""Seconds after the first, role, index, exit code (None: a signal), reason."""
EPISODES: dict[str, tuple[list[Loss], int]] = {
    "all at once": ([(0, "server", 0, None, ""), (0, "server", 1, None, ""), (0, "worker", 2, None, "")], 1),
    "one after the other within seconds": ([(0, "worker", 0, None, ""), (4, "worker", 1, None, ""),
                                            (8, "server", 0, None, "")], 1),
    "one exit code, other words": ([(0, "worker", 0, 1, "Unavailable"), (1, "worker", 1, 1, "Unavailable")], 1),
    "another reason": ([(0, "worker", 0, 1, "Unavailable"), (1, "worker", 1, 1, "DiskFull")], 2),
    "another exit code": ([(0, "worker", 0, 1, "Exited"), (1, "worker", 1, 7, "Exited")], 2),
    "a signal beside an exit": ([(0, "worker", 0, None, ""), (1, "worker", 1, 1, "Exited")], 2),
    "later": ([(0, "worker", 0, None, ""), (10, "worker", 1, None, "")], 2),
    "no chain: each counts from the first": ([(0, "worker", 0, None, ""), (8, "worker", 1, None, ""),
                                             (16, "worker", 2, None, "")], 2),
    "the same seat again": ([(0, "worker", 0, None, ""), (1, "worker", 0, None, "")], 2),
    "two that crash in turns": ([(0, "worker", 0, None, ""), (0, "worker", 1, None, ""),
                                 (2, "worker", 0, None, ""), (2, "worker", 1, None, "")], 2),
}  # fmt: skip


@pytest.mark.parametrize("name", EPISODES)
def test_members_lost_together_count_once(name: str) -> None:
    losses, restarts = EPISODES[name]
    world = World(backoff_limit=100).running()
    before = 0.0
    for after, role, index, code, reason in losses:
        world.later(after - before)
        before = after
        world.end("worker" if role == "worker" else "server", index, code, reason, f"{role} {index}: {after}").settle()
    assert (world.status.restarts, world.status.restarts_total) == (restarts, len(losses))


def test_an_outage_takes_all_members_and_ends_no_job() -> None:
    world = World(servers=2, workers=6, backoff_limit=1).running()
    for role, count in (("server", 2), ("worker", 6)):
        for index in range(count):
            world.kill("server" if role == "server" else "worker", index)
    made = world.plan()
    assert (made.status.restarts, made.status.exit_code) == (1, None)
    world.apply(made).settle()
    world.later(1).kill("worker", 0).settle()
    assert world.status.exit_code == 1
    assert world.status.message.startswith("members were lost 2 times")


def test_budget_is_refilled_by_progress_since_the_last_failure() -> None:
    world = World(backoff_limit=2, every_steps=1000).running(step=500)
    world.kill("worker", 0).settle()
    world.register().train(1499).settle()
    assert world.status.restarts == 1
    world.train(1500).settle()
    assert (world.status.restarts, world.status.restarts_total) == (0, 1)


def test_after_a_roll_back_the_refill_counts_from_where_it_went() -> None:
    world = World(every_steps=1000).running(step=5000)
    world.kill("worker", 0).settle()
    world.train(4000).settle()
    world.train(5000).settle()
    assert world.status.restarts == 0


def test_backoff_grows_in_a_crash_loop_and_begins_anew_after_work() -> None:
    assert [backoff(n) for n in range(9)] == [0, 0, 1, 2, 4, 8, 16, 32, 60]
    world = World(backoff_limit=100).running()
    world.kill("worker", 1)
    assert world.step() == ["delete worker-1-0", "create worker-1-1"]
    for wait in (1, 2, 4):
        world.settle()
        world.kill("worker", 1)
        assert not [act for act in world.settle() if act.startswith("create")]
        assert world.plan().requeue_after == pytest.approx(wait)
        world.later(wait)
        assert [act.split("-")[:2] for act in world.step()] == [["create worker", "1"]]
    world.register().train(200).settle()
    world.kill("worker", 1)
    assert "create worker-1-5" in world.step()


def test_crash_loop_is_blocked_and_says_why() -> None:
    world = World(backoff_limit=100).running()
    for _ in range(3):
        world.end("worker", 1, 1, "Crashed", "cannot open /data").settle()
        world.later(60).settle()
    world.end("worker", 1, 1, "Crashed", "cannot open /data").settle()
    assert world.status.phase == "Blocked"
    assert "worker 1 ended 4 times" in world.status.message
    assert "cannot open /data" in world.status.message
    assert "dsj logs digits" in world.status.message


def test_each_end_counts_once_even_if_nobody_forgets_the_gone() -> None:
    world = World().running().kill("worker", 1)
    world.status = world.plan().status  # the status was saved, then the supervisor died before it acted
    again = world.plan()
    assert again.status.restarts == 1
    assert again.delete == (Member("worker", 1, 0),)
    assert [str(m) for m in again.create] == ["worker-1-2"]  # numbers are never used again


def test_deleted_child_comes_back_uncounted() -> None:
    world = World().running()
    del world.members[next(m for m in world.members if str(m) == "worker-2-0")]
    assert world.step() == ["create worker-2-1"]
    assert world.status.restarts == 0
    assert [e.reason for e in world.status.events][-1] == "MemberVanished"


def test_failure_names_who_where_and_when() -> None:
    world = World().running().end("server", 1, 1, "DiskFull", "no space left in checkpoints/")
    failure = world.plan().status.last_failure
    assert failure is not None
    assert (failure.role, failure.index, failure.incarnation, failure.exit_code) == ("server", 1, 0, 1)
    assert failure.time.startswith("2023-11-14T22:1")
    assert EPOCH == 1_700_000_000.0
