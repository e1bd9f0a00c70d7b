"""Who leads, by whose clock, and when it ends. The steps of the thread are taken one by one."""

from dataclasses import dataclass, field

import pytest

from builders.versioned import Versioned
from deepseek_operator.kube import LEASES, ApiError, NotLeading, Unreachable
from deepseek_operator.leadership import Leadership, Terms, holder

TERMS = Terms(duration=10.0, renew=7.0, retry=2.0)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Replica:
    server: Versioned
    identity: str
    clock: Clock = field(default_factory=Clock)
    lost: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.leadership = Leadership(
            self.server.api, "ns", "lease", self.identity,
            began=lambda: None, lost=self.lost.append, terms=TERMS, clock=self.clock,
        )  # fmt: skip

    def take(self) -> bool:
        return self.leadership._take()

    def leads(self) -> bool:
        try:
            return self.leadership.fence() > 0
        except NotLeading:
            return False


def lease_holder(server: Versioned) -> str:
    return holder(server.objects["leases", "lease"])


def test_first_one_makes_the_lease_and_leads_for_the_time_it_may_renew_in() -> None:
    one = Replica(Versioned(), "one")
    assert not one.leads()
    assert one.take()
    assert one.leadership.fence() == pytest.approx(7.0)
    one.clock.now += 6.9
    assert one.leads()
    one.clock.now += 0.2
    assert not one.leads()


def test_another_takes_it_only_after_it_stood_still_by_its_own_clock() -> None:
    server = Versioned()
    one, two = Replica(server, "one"), Replica(server, "two", Clock(5.0))
    one.take()
    assert not two.take()
    two.clock.now += 9.9
    one.leadership._renew()
    assert not two.take(), "it has moved"
    two.clock.now += 9.9
    assert not two.take()
    two.clock.now += 0.2
    one.clock.now += 10.1
    assert not one.leads(), "whoever is taken from has ended before"
    assert two.take()
    assert (lease_holder(server), server.objects["leases", "lease"]["spec"]["leaseTransitions"]) == ("two", 1)


def test_of_two_that_take_it_at_once_one_leads() -> None:
    server = Versioned()
    one, two = Replica(server, "one"), Replica(server, "two")
    found = server.put(LEASES, {"metadata": {"name": "lease"}, "spec": {"holderIdentity": ""}})
    assert one.take()
    original = server.get
    server.get = lambda *_: found  # type: ignore[method-assign]
    assert not two.take()
    server.get = original  # type: ignore[method-assign]
    assert (one.leads(), two.leads()) == (True, False)


def test_leader_that_finds_another_in_the_lease_has_lost_it() -> None:
    server = Versioned()
    one = Replica(server, "one")
    one.take()
    held = server.objects["leases", "lease"]
    server.put(LEASES, held | {"spec": held["spec"] | {"holderIdentity": "two"}})
    one.leadership._renew()
    assert one.leadership._lease is None


def test_a_label_set_by_hand_is_no_loss() -> None:
    server = Versioned()
    one = Replica(server, "one")
    one.take()
    held = server.objects["leases", "lease"]
    server.put(LEASES, held | {"metadata": held["metadata"] | {"labels": {"a": "b"}}})
    one.leadership._renew()
    one.clock.now += 2
    one.leadership._renew()
    assert one.leadership.fence() == pytest.approx(7.0)


def test_time_counts_from_before_the_call_not_from_its_answer() -> None:
    one = Replica(Versioned(), "one")
    server = one.server
    create = server.create

    def slow(*given: object) -> object:
        one.clock.now += 5.0
        return create(*given)  # type: ignore[arg-type]

    server.create = slow  # type: ignore[method-assign, assignment]
    assert one.take()
    assert one.leadership.fence() == pytest.approx(2.0)


def test_answer_after_the_deadline_is_no_leadership() -> None:
    one = Replica(Versioned(), "one")
    create = one.server.create

    def late(*given: object) -> object:
        one.clock.now += 8.0
        return create(*given)  # type: ignore[arg-type]

    one.server.create = late  # type: ignore[method-assign, assignment]
    assert not one.take()
    assert one.take(), "it is its own, and free to be taken again"


@pytest.mark.parametrize("error", [Unreachable("gone"), ApiError("odd")])
def test_failed_renewals_end_it_by_themselves(error: ApiError) -> None:
    one = Replica(Versioned(), "one")
    one.take()
    one.clock.now += 6.0
    one.server.fail = [error]
    with pytest.raises(ApiError):
        one.leadership._renew()
    assert one.leads()
    one.clock.now += 1.1
    assert not one.leads()


def test_process_that_takes_its_own_lease_after_a_restart_need_not_wait() -> None:
    server = Versioned()
    assert Replica(server, "pod").take()
    assert Replica(server, "pod", Clock(1.0)).take()


def test_lease_given_back_is_free_at_once() -> None:
    server = Versioned()
    one, two = Replica(server, "one"), Replica(server, "two")
    one.leadership.start()
    for _ in range(100):
        if one.leads():
            break
        one.leadership._stop.wait(0.05)
    one.leadership.stop()
    assert (lease_holder(server), one.leads(), one.lost) == ("", False, [])
    assert two.take()
