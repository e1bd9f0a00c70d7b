"""`python -m testcluster up|down|status|load|prepare`: what make cluster-up and cluster-down run."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from deepseek_operator.executors.etcd import EtcdMissing
from testcluster import binaries, cluster, control_plane, images, kind, needs
from testcluster.commands import CommandFailed
from testcluster.daemons import NotReady
from testcluster.layout import Layout

_EXPECTED = (
    CommandFailed,
    EtcdMissing,
    NotReady,
    binaries.GoMissing,
    cluster.AlreadyUp,
    OSError,
    ValueError,
)


def main() -> int:
    arguments = _parser().parse_args()
    try:
        layout = Layout(arguments.number, getattr(arguments, "nodes", 2))
        return {"up": _up, "down": _down, "status": _status, "load": _load, "prepare": _prepare}[arguments.command](
            layout, arguments
        )
    except _EXPECTED as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cluster: interrupted; nothing was left running", file=sys.stderr)
        return 130


def _up(layout: Layout, arguments: argparse.Namespace) -> int:
    reason = needs.why_not()
    if reason is not None:
        if not kind.usable():
            raise CommandFailed(f"{reason}; or Docker, for kind")
        print(f"cluster: {reason}: using kind, in Docker")
        kind.up(layout)
    else:
        there = cluster.up(layout, grace=arguments.grace, say=_say)
        print(f"cluster: {len(there.nodes)} nodes are Ready; logs are in {_short(layout.logs)}")
    print("Use it with:")
    print(f"  export KUBECONFIG={layout.kubeconfig} PATH={layout.programs}:$PATH")
    print("  kubectl get nodes")
    print(f"and remove it with: make cluster-down{f' CLUSTER={layout.number}' if layout.number else ''}")
    return 0


def _down(layout: Layout, arguments: argparse.Namespace) -> int:
    if needs.why_not() is not None and kind.usable():
        kind.down(layout)
    elif os.geteuid() != 0:
        raise CommandFailed("only root can have started a cluster here, and can remove it")
    else:
        cluster.down(layout)
    print("cluster: removed")
    return 0


def _status(layout: Layout, arguments: argparse.Namespace) -> int:
    there = cluster.attach(layout)
    if there is None:
        print("cluster: not up")
        return 1
    print(there.kubectl("get", "nodes,pods", "--all-namespaces", "--output=wide"), end="")
    return 0


def _load(layout: Layout, arguments: argparse.Namespace) -> int:
    there = cluster.attach(layout)
    if there is None:
        raise CommandFailed("not up: make cluster-up")
    for archive in arguments.archives:
        there.load(archive.resolve())
    return 0


def _prepare(layout: Layout, arguments: argparse.Namespace) -> int:
    _timed("the programs of Kubernetes", lambda: binaries.build_missing(_say))
    if not os.environ.get("IMAGES"):
        for target in images.TARGETS:
            _timed(f"the image {target}", lambda target=target: images.build(target))  # type: ignore[misc]
    return 0


def _timed(what: str, build: Callable[[], object]) -> None:
    begin = time.monotonic()
    build()
    _say(f"built {what} in {time.monotonic() - begin:.0f} s")


def _say(line: str) -> None:
    print(f"cluster: {line}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m testcluster", description=__doc__)
    parser.add_argument("--number", type=int, default=0, help="which cluster: several fit on one machine")
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("up", help="start it, unless it is up")
    starting.add_argument("--nodes", type=int, default=2)
    starting.add_argument(
        "--grace",
        type=int,
        default=control_plane.GRACE,
        help="seconds after which a silent node is given up for lost (Kubernetes' default: 50)",
    )
    commands.add_parser("down", help="remove it, or what is left of it")
    commands.add_parser("status", help="its nodes and pods")
    loading = commands.add_parser("load", help="give all its nodes the images of OCI archives")
    loading.add_argument("archives", nargs="+", type=Path)
    commands.add_parser("prepare", help="build what is not there yet: programs, and the images that tests load")
    return parser


def _short(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    sys.exit(main())
