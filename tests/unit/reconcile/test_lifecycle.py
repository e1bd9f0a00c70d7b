"""Begin, end, deadline, fail on request, suspend and resume, scale."""

import pytest

from builders.world import Given, World, acts, true_conditions
from deepseek_operator.api.status import JobStatus


def test_phases_of_a_job() -> None:
    world = World()
    assert world.status.phase == "Pending"
    world.settle()
    assert (world.status.phase, world.status.message) == (
        "Starting",
        "the first term begins when all servers have registered",
    )
    world.register().settle()
    world.open_term().settle()
    assert true_conditions(world.status) == ["Running/Training"]
    assert (world.status.phase, world.status.message) == ("Running", "")
    assert (world.status.servers.ready, world.status.workers.ready) == (2, 3)


def test_finished_members_leave_by_themselves_servers_last() -> None:
    world = World().running().finish(term=1)
    world.settle()
    assert world.status.exit_code == 0
    for index in range(3):
        world.end("worker", index, 0, "Finished")
    assert world.settle() == [
        *(f"delete worker-{i}-0" for i in range(3)), "terminate server-0-0", "terminate server-1-0",
    ]  # fmt: skip
    for index in range(2):
        world.end("server", index, 0, "Finished")
    assert world.settle() == ["delete server-0-0", "delete server-1-0"]
    assert acts(world.plan()) == ["ended"]
    assert true_conditions(world.status) == ["Succeeded/AllStepsDone", "Finished/Succeeded"]


def test_success_is_the_last_word() -> None:
    """The chief writes `finished` at once, and its report of the last evaluation when it leaves."""
    world = World(servers=1, workers=1).running().finish(term=1)
    world.settle()
    world.end("worker", 0, 0, "Finished").settle()
    world.train(20_000, events=("7 Evaluated step 20000: accuracy 0.99", "8 Finished step 20000")).settle()
    assert world.status.phase == "Succeeded"
    assert [event.reason for event in world.status.events][-2:] == ["Evaluated", "Finished"]
    world.end("server", 0, 0, "Finished").settle()
    assert [event.reason for event in world.status.events][-3:] == ["Evaluated", "Finished", "Succeeded"]
    assert world.status.events[-1].message == "all steps are done (step 20000, term 1)"
    assert (world.plan().events, world.plan().ended) == ((), True)


def test_worker_that_stays_after_the_end_is_asked_to_leave() -> None:
    world = World().running().finish(term=1)
    world.settle()
    wait = world.plan().requeue_after
    assert wait is not None
    world.later(wait)
    assert world.settle() == [f"terminate worker-{i}-0" for i in range(3)]


def test_finished_wins_over_a_mistake_seen_at_the_same_time() -> None:
    world = World().running().finish(term=1).end("worker", 0, 65, "UserCodeRaised", "at exit")
    assert world.plan().status.exit_code == 0


def progress_of(world: World, term: int, steps: int) -> None:
    world.train(100, term=term, steps=steps).settle()


FINISHED: dict[str, tuple[dict[str, int], Given, int, str]] = {
    "the last step": ({"steps": 600}, lambda w: w, 600, ""),
    "skipped batches count": ({"steps": 600}, lambda w: w.train(600, samples_skipped=64), 600, ""),
    "nothing was reported yet": ({"steps": 600}, lambda w: setattr(w, "status", JobStatus()), 600, ""),
    "before it was made longer": ({"steps": 900}, lambda w: progress_of(w, 1, 600), 600, "but it has 900 steps"),
    "beyond the last": ({"steps": 600}, lambda w: w, 601, "but it has 600 steps"),
    "not begun": ({"steps": 600}, lambda w: w, 0, "but it has 600 steps"),
    "the chief counts otherwise than it was told": (
        {"steps": 600}, lambda w: progress_of(w, 1, 700), 700, "but it has 600 steps",
    ),
    "epochs": ({"epochs": 3}, lambda w: progress_of(w, 1, 600), 600, ""),
    "epochs, another number than the chief's": (
        {"epochs": 3}, lambda w: progress_of(w, 1, 600), 300, "but it has 600 steps",
    ),
    "more epochs since, and no report of this term": ({"epochs": 3}, lambda w: progress_of(w, 0, 600), 900, ""),
    "epochs, and no report at all": ({"epochs": 3}, lambda w: progress_of(w, 1, 0), 900, ""),
    "a part of an epoch": ({"epochs": 3}, lambda w: progress_of(w, 0, 0), 601, "no whole number of steps for each of"),
    "no epoch at all": ({"epochs": 3}, lambda w: progress_of(w, 0, 0), 0, "no whole number of steps for each of"),
}  # fmt: skip


@pytest.mark.parametrize("name", FINISHED)
def test_finished_is_believed_at_the_last_step_alone(name: str) -> None:
    asked, given, step, refusal = FINISHED[name]
    world = World(**asked).running()
    given(world)
    world.finish(term=1, step=step)
    world.settle()
    if not refusal:
        assert world.status.phase == "Succeeded"
        return
    assert not world.status.finished
    assert "Degraded/FinishNotBelieved" in true_conditions(world.status)
    assert world.status.message.startswith(f"etcd says that the job finished at step {step} (term 1), ")
    assert refusal in world.status.message
    assert world.status.message.endswith(": not believed")
    assert world.kill("worker", 0).settle() == ["delete worker-0-0", "create worker-0-1"], "the job goes on"
    last = asked.get("steps", 600)
    progress_of(world, 1, last)
    world.finish(term=1, step=last).settle()
    assert world.status.phase == "Succeeded"


def test_fail_on_request_of_the_chief() -> None:
    world = World().running().request("f1", "fail", 1, code=65, reason="loss is not finite at step 300")
    made = world.plan()
    assert made.drop_requests == ("f1",)
    assert (made.status.exit_code, made.status.message) == (65, "loss is not finite at step 300")
    assert len(made.delete) == 5


def test_the_reason_that_the_chief_gives_is_the_condition_s() -> None:
    made = World().running().request("f1", "fail", 1, code=66, reason="StoreUnusable: /x: no space").plan()
    assert (made.status.exit_code, made.status.message) == (66, "/x: no space")
    assert next(c.reason for c in made.status.conditions if c.type == "Failed") == "StoreUnusable"


def test_fail_request_of_an_older_term_is_dropped() -> None:
    world = World().running().request("f1", "fail", 0, code=65, reason="old")
    assert acts(world.plan()) == ["drop f1"]


def test_deadline() -> None:
    world = World(active_deadline=600.0).running()
    wait = world.plan().requeue_after
    assert wait is not None
    assert 0 < wait <= 600
    made = world.later(wait).plan()
    assert made.status.exit_code == 1
    assert "activeDeadlineSeconds (600 s)" in made.status.message
    assert "dsj run --resume digits" in made.status.message
    there = World(active_deadline=600.0, local=False).running().later(600.0).plan().status
    assert "--resume" not in there.message, "in a cluster a failed job does not go on"
    assert "restoreFrom: job://digits" in there.message


def counting() -> World:
    """In a cluster, all steps done, workers gone by themselves."""
    world = World(local=False).running().finish(term=1)
    world.settle()
    for index in range(3):
        world.end("worker", index, 0, "Finished")
    world.later(5.0)
    assert world.settle() == [], "nobody is replaced"
    return world


def test_the_end_comes_with_the_count_of_samples() -> None:
    world = counting()
    assert true_conditions(world.status) == ["Running/Counting"]
    assert not world.status.finished
    world.train(20_000, samples_counted=True, samples_repeated=0)
    made = world.plan()
    assert (made.status.phase, made.status.exit_code, made.status.done_since) == ("Succeeded", 0, None)
    world.settle()
    assert "SamplesNotCounted" not in [event.reason for event in world.status.events]


def test_a_count_that_does_not_come_is_not_waited_for_for_ever() -> None:
    world = counting()
    wait = world.plan().requeue_after
    assert wait is not None
    world.later(wait).settle()
    assert world.status.phase == "Succeeded"
    (said,) = [event for event in world.status.events if event.reason == "SamplesNotCounted"]
    assert said.type == "Warning"
    assert "no count came within 20 s" in said.message


def test_nobody_counts_when_the_chief_is_gone() -> None:
    world = counting()
    world.kill("server", 0).settle()
    assert world.status.phase == "Succeeded"
    assert "SamplesNotCounted" in [event.reason for event in world.status.events]


def test_a_job_that_is_made_longer_while_it_counts_goes_on() -> None:
    world = World(local=False, steps=600).running().train(600, steps=600).finish(term=1, step=600)
    world.settle()
    assert true_conditions(world.status) == ["Running/Counting"]
    world.asks(steps=900).settle()
    assert "Degraded/FinishNotBelieved" in true_conditions(world.status)
    assert (world.status.done_since, world.status.finished) == (None, "")


SUSPENDED_AT_ONCE: dict[str, Given] = {
    "nothing there yet": lambda w: w,
    "term not open": lambda w: (w.settle(), w.register(), w.settle()),
}


@pytest.mark.parametrize("name", SUSPENDED_AT_ONCE)
def test_nothing_to_drain(name: str) -> None:
    world = World()
    SUSPENDED_AT_ONCE[name](world)
    world.asks(suspend=True).settle()
    for role, count in (("worker", 3), ("server", 2)):
        for index in range(count):
            if any(m.alive and m.role == role for m in world.members.values()):
                world.end(role, index, 0, "Drained")  # type: ignore[arg-type]
        world.settle()
    assert world.plan().ended
    assert world.status.phase == "Suspended"
    assert not world.view.commands


def leave(world: World) -> None:
    for index in range(3):
        world.end("worker", index, 0, "Drained")
    world.settle()
    for index in range(2):
        world.end("server", index, 0, "Drained")
    world.settle()


def test_drain_then_servers_then_resume() -> None:
    world = World().running().asks(suspend=True)
    assert world.settle() == ["command drain-1"]
    assert world.status.message.startswith("the job drains")
    for index in range(3):
        world.end("worker", index, 0, "Drained")
    assert world.settle() == [f"delete worker-{i}-0" for i in range(3)]
    assert world.drained(1).settle() == ["terminate server-0-0", "terminate server-1-0"]
    for index in range(2):
        world.end("server", index, 0, "Drained")
    assert world.settle() == ["delete server-0-0", "delete server-1-0", "drop drain-1"]
    assert world.plan().ended
    assert (world.status.phase, world.status.restarts) == ("Suspended", 0)
    assert "dsj run --resume digits" in world.status.message
    world.emptied_etcd().asks(suspend=False)
    assert world.settle() == [
        "create server-0-1", "create server-1-1", *(f"create worker-{i}-1" for i in range(3)), "term 1: 0-0,1-0",
    ]  # fmt: skip
    assert world.register().settle() == ["term 2: 0-1,1-1"]
    world.open_term().settle()
    assert world.status.phase == "Running"
    assert world.status.recoveries == ()


def test_drain_is_bounded() -> None:
    world = World().running().asks(suspend=True)
    world.settle()
    assert world.plan().requeue_after == pytest.approx(60.0)
    assert world.later(60.0).settle() == [f"terminate worker-{i}-0" for i in range(3)]


def test_acknowledged_is_not_drained() -> None:
    world = World().running().asks(suspend=True)
    world.settle()
    assert world.acknowledge("drain-1").settle() == []
    assert world.drained(1).settle() == [f"terminate worker-{i}-0" for i in range(3)]


def test_drain_command_is_written_again_to_an_emptied_etcd() -> None:
    world = World().running().asks(suspend=True)
    world.settle()
    assert world.emptied_etcd().settle() == ["command drain-1"]


def test_server_lost_while_draining_is_not_replaced() -> None:
    world = World().running().asks(suspend=True)
    world.settle()
    assert world.kill("server", 1).settle() == ["delete server-1-0", *(f"terminate worker-{i}-0" for i in range(3))]


def test_stop_with_kill() -> None:
    world = World().running().asks(suspend=True, kill=True)
    assert len(world.plan().delete) == 5
    world.settle()
    assert world.plan().ended


def test_resume_in_the_middle_of_a_drain_lets_it_end_first() -> None:
    world = World().running().asks(suspend=True)
    world.settle()
    world.asks(suspend=False).settle()
    world.drained(1).settle()
    leave(world)
    assert world.register().settle() == ["term 2: 0-1,1-1"]


SCALE = {
    "up": (5, ["create worker-3-0", "create worker-4-0"]),
    "down": (1, ["terminate worker-1-0", "terminate worker-2-0"]),
}


@pytest.mark.parametrize("name", SCALE)
def test_scale(name: str) -> None:
    workers, expected = SCALE[name]
    assert World().running().asks(workers=workers).settle() == expected


def test_scaled_down_worker_leaves_without_being_replaced() -> None:
    world = World().running().asks(workers=2)
    world.settle()
    world.end("worker", 2, 0, "Drained")
    assert world.settle() == ["delete worker-2-0"]
    assert world.status.restarts == 0


def test_scaled_down_and_up_again() -> None:
    world = World().running().asks(workers=2)
    world.settle()
    assert world.asks(workers=3).settle() == []
    world.end("worker", 2, 0, "Drained")
    assert world.settle() == ["delete worker-2-0", "create worker-2-1"]
    assert (world.status.restarts, world.status.recoveries) == (0, ())


DEGRADED: dict[str, tuple[Given, str]] = {
    "fewer than min": (lambda w: w.asks(workers_min=3).kill("worker", 0), "TooFewWorkers"),
    "etcd silent": (lambda w: w.silent_etcd().later(20), "EtcdUnreachable"),
}


@pytest.mark.parametrize("name", DEGRADED)
def test_degraded(name: str) -> None:
    given, reason = DEGRADED[name]
    world = World().running()
    given(world)
    world.settle()
    assert f"Degraded/{reason}" in true_conditions(world.status)


def test_member_that_never_registers_is_blocked() -> None:
    world = World()
    world.settle()
    wait = world.plan().requeue_after
    assert wait == pytest.approx(60.0)
    world.later(60).settle()
    assert world.status.phase == "Blocked"
    assert "server 0 has not registered within 60 s" in world.status.message


def test_events_of_the_runtime_are_told_once() -> None:
    world = World().running().train(200, events=("1 Initialised 5000 parameters", "2 Skipped range 7"))
    world.settle()
    world.train(300, events=("1 Initialised 5000 parameters", "2 Skipped range 7", "3 Skipped range 9")).settle()
    told = [(e.reason, e.message) for e in world.status.events if e.reason in ("Initialised", "Skipped")]
    assert told == [("Initialised", "5000 parameters"), ("Skipped", "range 7"), ("Skipped", "range 9")]


FIVE = tuple(f"{n} Skipped range {n}" for n in range(1, 6))
TOLD_AGAIN: dict[str, tuple[tuple[str, ...], tuple[str, ...], list[str]]] = {
    "all are known": (FIVE[:4], FIVE, ["range 5"]),
    "only the newest is known, after a restart of the operator": (FIVE[3:4], FIVE, ["range 5"]),
    "a chief's own, and those of the one before": (FIVE[:4], (*FIVE[:4], *FIVE[:4], FIVE[4]), ["range 5"]),
    "the same, after a restart": (FIVE[3:4], (*FIVE[:4], *FIVE[:4], FIVE[4]), ["range 5"]),
    "the same, and etcd was behind": (FIVE[3:4], (*FIVE[:4], *FIVE[:3], FIVE[4]), ["range 5"]),
    "more than it keeps came since": (FIVE[:2], FIVE[2:], ["range 3", "range 4", "range 5"]),
    "nothing is known": ((), FIVE[:2], ["range 1", "range 2"]),
}


@pytest.mark.parametrize("name", TOLD_AGAIN)
def test_what_the_chief_said_is_told_once(name: str) -> None:
    known, events, due = TOLD_AGAIN[name]
    world = World().running().train(200, events=known)
    world.settle()
    before = len(world.status.events)
    world.train(300, events=events).settle()
    assert [event.message for event in world.status.events[before:]] == due
