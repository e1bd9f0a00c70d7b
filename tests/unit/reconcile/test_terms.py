"""When a term is raised, whom it names, and what is written again (protocol.md, Terms)."""

from dataclasses import replace

import pytest

from builders.world import World, acts


def test_first_term_waits_for_all_servers() -> None:
    world = World()
    created = world.settle()
    assert created == ["create server-0-0", "create server-1-0", *(f"create worker-{i}-0" for i in range(3))]
    world.register("worker").settle()
    assert world.view.term is None
    assert world.register("server").step() == ["term 1: 0-0,1-0"]
    assert world.status.term.number == 1
    assert world.settle() == []


def test_status_holds_the_term_before_etcd_does() -> None:
    world = World()
    world.settle()
    made = world.register().plan()
    assert made.term is not None
    assert made.status.term.number == made.term.number
    world.status = made.status  # the supervisor died between the two writes
    assert acts(world.plan()) == ["term 1: 0-0,1-0"]


def test_replacement_is_named_when_it_has_registered() -> None:
    world = World().running().kill("server", 1)
    assert world.settle() == ["delete server-1-0", "create server-1-1"]
    assert world.register().settle() == ["term 2: 0-0,1-1"]


def test_number_is_above_both() -> None:
    world = World().running()
    assert world.view.term is not None
    world.view = type(world.view)(
        term=world.view.term.model_copy(update={"number": 7}), registrations=world.view.registrations, listed_at=0.0
    )
    world.settle()
    assert world.status.term.number == 7
    world.kill("server", 0).settle()
    assert world.register().settle() == ["term 8: 0-1,1-0"]


def test_lost_status_is_found_again_in_etcd_and_nothing_restarts() -> None:
    world = World().running()
    world.status = type(world.status)()
    assert world.settle() == []
    assert world.status.term.number == 1
    world.kill("worker", 0)
    assert "create worker-0-1" in world.settle()


def test_emptied_etcd_gets_the_same_record_and_nothing_restarts() -> None:
    world = World().running()
    before = world.view.term
    assert world.emptied_etcd().settle() == ["term 1: 0-0,1-0"]
    assert world.view.term == before
    assert world.status.opened == 1
    assert world.register().settle() == []


def test_server_lost_with_the_data_of_etcd() -> None:
    world = World().running().emptied_etcd().kill("server", 1)
    assert world.settle() == ["delete server-1-0", "create server-1-1", "term 1: 0-0,1-0"]
    world.register()  # the living one too, but its registration is not needed
    del_key = ("server", 0)
    world.view = type(world.view)(
        term=world.view.term, listed_at=world.view.listed_at,
        registrations={k: r for k, r in world.view.registrations.items() if k != del_key},
    )  # fmt: skip
    assert world.settle() == ["term 2: 0-0,1-1"]


def test_no_term_while_etcd_is_silent() -> None:
    world = World().running().kill("server", 1)
    world.settle()
    world.register().silent_etcd()
    assert world.settle() == []
    assert world.talking_etcd().settle() == ["term 2: 0-0,1-1"]


def test_finished_of_any_term_is_success_before_a_term_is_written() -> None:
    world = World().running().kill("server", 1)
    world.settle()
    world.register()
    made = world.plan()
    world.status = made.status  # term 2 is in the status, not in etcd; chief 1's `finished` lands
    world.finish(term=1)
    assert world.plan().term is None
    world.settle()
    assert world.status.phase == "Succeeded"
    assert world.view.term is not None
    assert world.view.term.number == 1


def test_unopened_term_is_raised_again_when_a_server_it_names_is_lost() -> None:
    world = World(servers=3).running().kill("server", 1)
    world.settle()
    world.register().settle()
    world.kill("server", 2).settle()
    assert world.register().settle() == ["term 3: 0-0,1-1,2-1"]


ROLL_BACK = {
    "present term": (1, ["term 2: 0-0,1-0 restore", "drop r1"]),
    "older term": (0, ["drop r1"]),
}


@pytest.mark.parametrize("name", ROLL_BACK)
def test_roll_back(name: str) -> None:
    term, expected = ROLL_BACK[name]
    world = World().running().request("r1", "roll_back", term)
    assert world.settle() == expected
    assert world.open_term().settle() == []


def test_roll_back_is_not_forgotten_when_a_server_dies_before_it_opened() -> None:
    world = World().running().request("r1", "roll_back", 1)
    world.settle()
    world.kill("server", 0).settle()
    assert world.register().settle() == ["term 3: 0-1,1-0 restore"]
    world.open_term().settle()
    world.kill("server", 0).settle()
    assert world.register().settle() == ["term 4: 0-2,1-0"]


def test_roll_back_waits_for_the_replacement_of_a_lost_server() -> None:
    world = World().running().request("r1", "roll_back", 1).kill("server", 1)
    assert world.settle() == ["delete server-1-0", "create server-1-1"]
    assert world.register().settle() == ["term 2: 0-0,1-1 restore", "drop r1"]


def test_unnamed_spare_is_deleted_while_the_named_server_lives() -> None:
    world = World().running().add("server", 1, 1).register()
    assert world.settle() == ["delete server-1-1"]
    assert world.status.term.number == 1


def test_spare_that_registered_while_the_operator_was_away_is_used() -> None:
    world = World().running().kill("server", 1).add("server", 1, 1).register()
    assert world.settle() == ["delete server-1-0", "term 2: 0-0,1-1"]


def test_removed_server_is_a_source_and_leaves_when_the_new_term_is_open() -> None:
    world = World(servers=3).running().asks(servers=2)
    assert world.settle() == ["term 2: 0-0,1-0 from 2-0"]
    assert world.open_term().settle() == ["terminate server-2-0"]
    world.end("server", 2, 0, "Drained")
    assert world.settle() == ["delete server-2-0"]


def test_a_source_that_died_is_not_waited_for() -> None:
    world = World(servers=3).running().asks(servers=2)
    world.settle()
    assert world.kill("server", 2).settle() == ["delete server-2-0", "term 3: 0-0,1-0"]
    world.kill("server", 1).settle()
    assert world.register().settle() == ["term 4: 0-0,1-1"]


def test_who_is_added_is_waited_for_until_it_is_ready() -> None:
    world = World(servers=2).running().asks(servers=3)
    world.settle()
    world.register()
    ready = dict(world.view.registrations)
    found = dict(ready)
    found["server", 2] = found["server", 2].model_copy(update={"state": "starting"})
    world.view = replace(world.view, registrations=found)
    assert world.settle() == []
    world.view = replace(world.view, registrations=ready)
    assert world.settle() == ["term 2: 0-0,1-0,2-0"]


def test_a_replacement_is_not_waited_for_until_it_is_ready() -> None:
    world = World(servers=2).running().kill("server", 1)
    world.settle()
    world.register()
    found = dict(world.view.registrations)
    found["server", 1] = found["server", 1].model_copy(update={"state": "starting"})
    world.view = replace(world.view, registrations=found)
    assert world.settle() == ["term 2: 0-0,1-1"]


def test_a_source_of_an_open_term_may_die() -> None:
    world = World(servers=3).running().asks(servers=2)
    world.settle()
    world.open_term().settle()
    assert world.kill("server", 2).settle() == ["delete server-2-0"]


def test_living_sources_of_an_unopened_term_are_sources_again() -> None:
    world = World(servers=3).running().asks(servers=2)
    world.settle()
    world.kill("server", 1).settle()
    assert world.register().settle() == ["term 3: 0-0,1-1 from 2-0"]


def test_re_shard_waits_for_the_present_term_to_open() -> None:
    world = World(servers=2)
    world.settle()
    world.register().settle()
    world.asks(servers=3).settle()
    assert world.register().settle() == []
    assert world.open_term().settle() == ["term 2: 0-0,1-0,2-0"]
