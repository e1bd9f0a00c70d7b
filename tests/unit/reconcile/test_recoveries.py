"""How long a loss lasted, and what it cost."""

from dataclasses import replace

from builders.world import EPOCH, World, true_conditions
from deepseek_operator.reconcile.observe import EtcdSeen


def test_worker_has_recovered_when_its_replacement_trained() -> None:
    world = World().running(step=500).kill("worker", 1)
    world.settle()
    assert true_conditions(world.status)[:2] == ["Running/Training", "Restarting/MemberLost"]
    world.later(2.0).register().settle()
    assert world.status.recoveries[0].seconds is None
    world.later(1.0).train(520).settle()
    (one,) = world.status.recoveries
    assert (one.role, one.index, one.at_step, one.seconds, one.restored_step) == ("worker", 1, 500, 3.0, None)
    assert one.cause == "killed by signal 9"
    assert one.longest_gap == 3.0
    assert "Restarting/MemberLost" not in true_conditions(world.status)


def test_server_has_recovered_when_its_term_is_open_and_a_range_was_done() -> None:
    world = World().running(step=500).kill("server", 1)
    world.settle()
    world.later(2.0).register().settle()
    world.later(1.0).open_term().settle()
    assert world.status.recoveries[0].seconds is None
    world.later(1.0).train(400, events=("4 TermOpened term 2: 2 servers, from checkpoint of step 400",)).settle()
    (one,) = world.status.recoveries
    assert (one.seconds, one.restored_step, one.longest_gap) == (4.0, 400, 4.0)


def test_a_report_that_comes_late_says_at_which_step_it_was() -> None:
    world = World().running(step=500)
    world.later(0.4)
    done = EPOCH + world.time
    world.later(0.1).kill("worker", 1).settle()
    world.later(0.1).train(540, last_range_time=done).settle()
    assert [r.at_step for r in world.status.recoveries] == [540]
    world.later(1.0).train(600).settle()
    assert [r.at_step for r in world.status.recoveries] == [540]


def test_a_loss_before_the_first_report_has_the_step_of_that() -> None:
    world = World()
    world.settle()
    world.register().settle()
    world.open_term().later(0.3).kill("worker", 1).settle()
    assert [r.at_step for r in world.status.recoveries] == [0]
    world.later(0.2).train(24).settle()
    world.later(1.0).train(80).settle()
    assert [r.at_step for r in world.status.recoveries] == [24]


def test_ranges_done_before_the_loss_do_not_count() -> None:
    world = World().running(step=500).kill("server", 1)
    world.settle()
    world.register().settle()
    world.open_term().later(1.0).train(500, last_range_time=EPOCH + world.time - 5).settle()
    assert world.status.recoveries[0].seconds is None


def test_replacement_lost_before_it_worked_is_the_same_recovery() -> None:
    world = World().running().kill("worker", 1)
    world.settle()
    world.register().kill("worker", 1).settle()
    world.later(1.0).settle()
    assert len(world.status.recoveries) == 1
    world.later(1.0).register().train(300).settle()
    assert world.status.recoveries[0].seconds == 2.0


def test_gap_is_the_chiefs_own_figure_where_it_grew() -> None:
    world = World().running().kill("worker", 1)
    world.settle()
    world.later(2.0).register().train(300, longest_gap=0.7).settle()
    assert world.status.recoveries[0].longest_gap == 0.7


def test_etcd_has_recovered_when_all_are_registered_again() -> None:
    world = World()
    world.etcd = EtcdSeen()
    world.running(step=700)
    world.later(1.0)
    world.etcd = EtcdSeen(1, EPOCH + world.time, "killed by signal 9")
    world.settle()
    assert [(r.role, r.at_step, r.seconds) for r in world.status.recoveries] == [("etcd", 700, None)]
    assert world.status.recoveries[0].cause == "killed by signal 9"
    assert world.status.events[-1].message.startswith("etcd ended (killed by signal 9); an empty one takes its place")
    world.silent_etcd().later(0.5).settle()
    world.later(0.5).emptied_etcd().settle()
    assert [r.seconds for r in world.status.recoveries] == [None]
    world.later(1.0).register().settle()
    assert [r.seconds for r in world.status.recoveries] == [2.0]
    assert world.status.restarts == 0


def test_silence_of_etcd_is_no_gap_in_training() -> None:
    world = World()
    world.etcd = EtcdSeen()
    world.running(step=700)
    world.etcd = EtcdSeen(1, EPOCH + world.time)
    world.settle()
    world.later(3.0).train(900).settle()
    assert world.status.recoveries[0].longest_gap == 0.0
    world.later(0.5).train(950, longest_gap=1.5).settle()
    assert world.status.recoveries[0].longest_gap == 1.5, "the chief itself says so"


def test_stale_view_does_not_close_the_recovery_of_etcd() -> None:
    world = World()
    world.etcd = EtcdSeen()
    world.running().later(5.0)
    world.etcd = EtcdSeen(1, EPOCH + world.time)
    world.later(0.1).settle()
    assert world.status.recoveries[0].cause == "ended", "nobody saw how"
    assert world.view.fresh
    assert [r.seconds for r in world.status.recoveries] == [None]
    world.view = replace(world.view, listed_at=world.time)
    world.settle()
    assert [r.seconds for r in world.status.recoveries] == [0.1]
