"""The wires: a bridge, and for each node a network namespace with a cable into it.

Between nodes everything is routed: a node's pods have a range of their own, which the other nodes and this machine
reach through the node's address. Nothing leads to the internet: a node has no default route, so that what asks for it
fails at once.
"""

import json
from pathlib import Path

from testcluster.commands import run, succeeds
from testcluster.layout import Layout


def up(layout: Layout) -> None:
    """Makes what is missing of the bridge, the namespaces and the routes. Raises CommandFailed."""
    if not Path("/sys/class/net", layout.name).exists():
        run("ip", "link", "add", layout.name, "type", "bridge")
        run("ip", "address", "add", f"{layout.gateway}/24", "dev", layout.name)
    run("ip", "link", "set", layout.name, "up")
    for node in layout.node_names:
        if not Path("/run/netns", layout.namespace(node)).exists():
            _add_node(layout, node)
    for node in layout.node_names:
        for other in layout.node_names:
            if other != node:
                route = ("route", "replace", layout.node_pods(other), "via", layout.node_address(other))
                run("ip", "-n", layout.namespace(node), *route)


def plug_in(layout: Layout, node: str) -> None:
    """Connects the node's cable."""
    run("ip", "link", "set", layout.link(node), "up")
    # Routes through an interface go when it goes down.
    run("ip", "route", "replace", layout.node_pods(node), "via", layout.node_address(node), "dev", layout.name)


def unplug(layout: Layout, node: str) -> None:
    """Pulls the node's cable: nothing comes back from it, not even a refusal."""
    run("ip", "link", "set", layout.link(node), "down")


def enter(layout: Layout, node: str) -> list[str]:
    """The command that leads into the node's network. (`ip netns exec` would hide the cgroups.)"""
    return ["nsenter", f"--net=/run/netns/{layout.namespace(node)}"]


def down(layout: Layout) -> None:
    """Removes all of it, whatever is there of it and however many nodes it had."""
    for namespace in json.loads(run("ip", "-json", "netns", "list") or "[]"):
        if namespace["name"].startswith(f"{layout.name}-"):
            succeeds("ip", "netns", "delete", namespace["name"])
    for link in json.loads(run("ip", "-json", "link", "show") or "[]"):
        name = link["ifname"]
        # The cables end with their namespace, some moments later; the bridge is the first part of their names.
        if name == layout.name or (link.get("master") == layout.name and name.startswith(f"{layout.name}n")):
            succeeds("ip", "link", "delete", name)


def _add_node(layout: Layout, node: str) -> None:
    namespace, link = layout.namespace(node), layout.link(node)
    run("ip", "netns", "add", namespace)
    run("ip", "link", "add", link, "master", layout.name, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    inside = ("ip", "-n", namespace)
    run(*inside, "link", "set", "lo", "up")
    run(*inside, "address", "add", f"{layout.node_address(node)}/24", "dev", "eth0")
    run(*inside, "link", "set", "eth0", "up")
    # Where a Service lives is decided (by kube-proxy) only for packets that have some way to go.
    run(*inside, "route", "add", layout.services, "via", layout.gateway)
    run(*enter(layout, node), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    plug_in(layout, node)
