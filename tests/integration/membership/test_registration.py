"""A registration lives as long as its member, and one seat has one member."""

from functools import partial

import pytest

from builders.etcd import Join, LocalEtcd, Watched
from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.contract.names import Role
from deepseek_runtime.contract.records import Registration
from deepseek_runtime.membership.connection import Connection

SEAT: tuple[Role, int] = ("server", 0)


def test_it_ends_with_its_member_and_not_before(shared: LocalEtcd, join: Join) -> None:
    reader, lives, dies = join(shared), join(shared), join(shared)
    lives.register("server", 0, Registration(incarnation=1, address="tcp://127.0.0.1:1"))
    dies.register("worker", 0, Registration(incarnation=1))
    assert reader.until(lambda: len(reader.view().registrations) == 2)
    dies.close(resign=False)
    assert set(reader.view().registrations) == {SEAT, ("worker", 0)}
    # Gone after its ttl; the other was renewed meanwhile, or both would go at once.
    assert reader.until(lambda: ("worker", 0) not in reader.view().registrations)
    assert SEAT in reader.view().registrations


def test_resigning_ends_it_at_once(shared: LocalEtcd, join: Join) -> None:
    reader, member = join(shared), join(shared, ttl=300.0)
    member.register("server", 0, Registration(incarnation=1))
    assert reader.until(lambda: SEAT in reader.view().registrations)
    member.close()
    assert reader.until(lambda: SEAT not in reader.view().registrations)


def test_a_changed_record_replaces_it(shared: LocalEtcd, join: Join) -> None:
    reader, member = join(shared), join(shared)
    for trained in range(4):
        member.register("server", 0, Registration(incarnation=1, trained=trained))
        assert reader.until(partial(_trained, reader, trained))


def test_a_higher_incarnation_takes_the_seat_and_the_lower_one_knows(shared: LocalEtcd, join: Join) -> None:
    reader, old, new = join(shared), join(shared), join(shared)
    old.register("server", 0, Registration(incarnation=1))
    assert reader.until(lambda: SEAT in reader.view().registrations)
    new.register("server", 0, Registration(incarnation=2))
    assert old.until(lambda: old.superseded)
    assert not new.superseded
    # The old one's late change and its end leave the new one alone.
    old.register("server", 0, Registration(incarnation=1, state="draining"))
    old.close()
    assert reader.until(lambda: _incarnation(reader) == 2)
    new.register("server", 0, Registration(incarnation=2, trained=1))
    assert reader.until(lambda: reader.view().registrations[SEAT] == Registration(incarnation=2, trained=1))


def test_a_lower_incarnation_that_comes_late_is_superseded(shared: LocalEtcd, join: Join) -> None:
    new, late = join(shared), join(shared)
    new.register("server", 0, Registration(incarnation=2))
    assert late.until(lambda: SEAT in late.view().registrations)
    late.register("server", 0, Registration(incarnation=1))
    # Its try to write is what tells: nothing in the view changes.
    assert late.until(lambda: late.superseded)
    assert _incarnation(new) == 2


def test_a_key_that_somebody_deletes_comes_back(shared: LocalEtcd, join: Join, keys: JobKeys) -> None:
    reader, member = join(shared), join(shared)
    member.register("server", 0, Registration(incarnation=1))
    assert reader.until(lambda: SEAT in reader.view().registrations)
    raw = Connection([shared.endpoint], 5.0, shared.tls)
    before = raw.get(keys.member(*SEAT))
    assert before is not None
    assert raw.delete(keys.member(*SEAT))
    assert reader.until(lambda: (raw.get(keys.member(*SEAT)) or before).created > before.created)
    raw.close()


def test_a_member_has_one_seat(shared: LocalEtcd, join: Join) -> None:
    member = join(shared)
    member.register("server", 0, Registration(incarnation=1))
    with pytest.raises(ValueError, match="one seat"):
        member.register("server", 1, Registration(incarnation=1))


def _trained(member: Watched, ranges: int) -> bool:
    registration = member.view().registrations.get(SEAT)
    return registration is not None and registration.trained == ranges


def _incarnation(member: Watched) -> int | None:
    registration = member.view().registrations.get(SEAT)
    return None if registration is None else registration.incarnation
