"""Clusters side by side, and what is left of them, are told apart by names and addresses alone."""

import ipaddress
from itertools import combinations

import pytest

from testcluster.layout import MOST_NODES, Layout


def test_nothing_of_a_cluster_overlaps() -> None:
    layout = Layout(3, MOST_NODES)
    ranges = [ipaddress.IPv4Network(layout.node_pods(node)) for node in layout.node_names]
    others = [ipaddress.IPv4Network(layout.services), ipaddress.IPv4Network(f"{layout.gateway}/24", strict=False)]

    assert not any(one.overlaps(other) for one, other in combinations([*ranges, *others], 2))
    assert all(one.subnet_of(ipaddress.IPv4Network(layout.all_pods)) for one in ranges)
    assert all(ipaddress.ip_address(layout.node_address(node)) in others[1] for node in layout.node_names)
    assert ipaddress.ip_address(layout.kubernetes_service) == others[0][1]


def test_clusters_share_nothing() -> None:
    one, eleven = Layout(1), Layout(11)
    assert one.folder != eleven.folder
    assert not ipaddress.IPv4Network(one.all_pods).overlaps(ipaddress.IPv4Network(eleven.all_pods))
    # What is removed is found by these beginnings.
    assert not eleven.namespace("node1").startswith(f"{one.name}-")
    assert not eleven.link("node1").startswith(f"{one.name}n")


def test_names_fit_the_kernel() -> None:
    layout = Layout(40, MOST_NODES)
    assert max(len(layout.link(node)) for node in layout.node_names) <= 15


@pytest.mark.parametrize("number, nodes", [(-1, 2), (41, 2), (0, 0), (0, MOST_NODES + 1)])
def test_what_does_not_fit_is_refused(number: int, nodes: int) -> None:
    with pytest.raises(ValueError, match=r"from 0 to 40|1 to 50 nodes"):
        Layout(number, nodes)
