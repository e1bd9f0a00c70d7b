"""A cluster is removed by whoever started it, and by nobody else."""

from typing import cast

import pytest

from testcluster import cluster
from testcluster.layout import Layout

UP = cast(cluster.Cluster, object())


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    monkeypatch.setattr(cluster, "attach", lambda layout: None)
    monkeypatch.setattr(cluster, "up", lambda layout, grace, say: UP)
    monkeypatch.setattr(cluster, "down", lambda layout: found.append(layout.number))
    return found


def test_one_that_was_up_stays(removed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "attach", lambda layout: UP)
    with cluster.found_or_started(Layout(7)) as there:
        assert there == (UP, True)
    assert removed == []


def test_one_of_our_own_goes_also_after_a_failure(removed: list[int]) -> None:
    with cluster.found_or_started(Layout(7)) as there:
        assert there == (UP, False)
        assert removed == []
    with pytest.raises(KeyError), cluster.found_or_started(Layout(8)):
        raise KeyError("a test")
    assert removed == [7, 8]


def test_that_of_another_checkout_is_left_alone(removed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(layout: Layout, grace: int, say: object) -> cluster.Cluster:
        raise cluster.AlreadyUp("another checkout has it up")

    monkeypatch.setattr(cluster, "up", refuses)
    with pytest.raises(cluster.AlreadyUp), cluster.found_or_started(Layout(7)):
        pytest.fail("there is none to use")
    assert removed == []
