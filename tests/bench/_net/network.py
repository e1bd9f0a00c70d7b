"""A bridge, and for each host a network namespace with one cable into it. Nothing leads out of it."""

import fcntl
import json
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from testcluster.commands import run, succeeds

NAME: Final = "dsjbench"
NET: Final = "10.241.0"
"""Clusters of the tests have 10.200 to 10.240."""
LOCK: Final = Path("/run/lock/dsj-bench-net")
BASES: Final = {"server": 10, "store": 90, "worker": 100}
ENDS: Final = 20.0
"""Seconds that another benchmark, which is ending, is waited for."""
OFFLOADS: Final = ("tso", "gso", "gro")
NEEDS: Final = {"ip": "iproute2", "tc": "iproute2", "nsenter": "util-linux", "ethtool": "ethtool"}
"""Program -> the Debian package that has it."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Bytes as the interfaces counted them, with all headers of Ethernet, IP and TCP. received, sent: by eth0; local:
    sent by lo, which is what the members say to etcd and hear from it."""

    received: int
    sent: int
    local: int

    def __sub__(self, earlier: "Counters") -> "Counters":
        return Counters(self.received - earlier.received, self.sent - earlier.sent, self.local - earlier.local)

    @property
    def both(self) -> int:
        return self.received + self.sent


def total(counters: Iterable[Counters]) -> Counters:
    every = list(counters)
    return Counters(*(sum(getattr(one, name) for one in every) for name in ("received", "sent", "local")))


def why_not() -> str | None:
    """Why there can be no namespaces here, in one sentence; None when nothing stands against them."""
    if platform.system() != "Linux":
        return f"network namespaces need Linux, this is {platform.system()}"
    if os.geteuid() != 0:
        return "network namespaces need root: run it as root"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = sorted({package for program, package in NEEDS.items() if shutil.which(program, path=path) is None})
    return f"network namespaces need the packages {' '.join(missing)}" if missing else None


def address(host: str) -> str:
    """Of `server-0`, `worker-3`, `store-0`."""
    role, _, index = host.rpartition("-")
    return f"{NET}.{BASES[role] + int(index)}"


def namespace(host: str) -> str:
    return f"{NAME}-{host}"


def parse_counters(text: str) -> Counters:
    """text: of `ip -s -j link show` in a namespace. Raises KeyError when eth0 or lo is not there."""
    found = {link["ifname"]: link["stats64"] for link in json.loads(text)}
    eth0, lo = found["eth0"], found["lo"]
    return Counters(eth0["rx"]["bytes"], eth0["tx"]["bytes"], lo["tx"]["bytes"])


def burst(bits: int) -> int:
    """Bytes that a token bucket of this rate must hold: 4 ms of it, for the kernel's clock may tick only so often, and
    a packet of 64 KiB, as they are before they are cut."""
    return max(1 << 16, bits // 8 // 250)


class Network:
    """`with` it, the hosts are there; afterwards nothing is left, nor of one that was killed before."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self.hosts = tuple(hosts)
        self._lock: int | None = None

    def __enter__(self) -> "Network":
        """Raises SystemExit with the reason where there can be none, CommandFailed."""
        reason = why_not()
        if reason is not None:
            sys.exit(f"this benchmark counts and shapes real links, and {reason}")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `with` blocks end
        self._lock = os.open(LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        end = time.monotonic() + ENDS
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    os.close(self._lock)
                    sys.exit(f"another benchmark has the namespaces {NAME}-* ({LOCK} is locked): wait for its end")
                time.sleep(0.5)  # one that was killed may still be ending
        clear()
        try:
            run("ip", "link", "add", NAME, "type", "bridge")
            run("ip", "address", "add", f"{NET}.1/24", "dev", NAME)
            run("ip", "link", "set", NAME, "up")
            for host in self.hosts:
                _add(host)
        except BaseException:
            clear()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        clear()
        if self._lock is not None:
            os.close(self._lock)

    def counters(self) -> Mapping[str, Counters]:
        return {
            host: parse_counters(run("ip", "-n", namespace(host), "-s", "-j", "link", "show")) for host in self.hosts
        }

    def shape(self, bits: int) -> None:
        """Each host sends and receives at most so many bits a second. Queues hold 50 ms."""
        words = ("root", "tbf", "rate", f"{bits}bit", "burst", f"{burst(bits)}b", "latency", "50ms")
        for host in self.hosts:
            run("tc", "-n", namespace(host), "qdisc", "replace", "dev", "eth0", *words)
            run("tc", "qdisc", "replace", "dev", _cable(host), *words)

    def split_packets(self) -> None:
        """Packets are of 1,500 bytes on their way through the kernel too, so that each one's headers are counted."""
        off = [word for offload in OFFLOADS for word in (offload, "off")]
        for host in self.hosts:
            run(*enter(host), "ethtool", "-K", "eth0", *off)
            run("ethtool", "-K", _cable(host), *off)


def enter(host: str) -> list[str]:
    """The command that leads into the host's network."""
    return [shutil.which("nsenter") or "/usr/bin/nsenter", f"--net=/run/netns/{namespace(host)}"]


def clear() -> None:
    for line in json.loads(run("ip", "-json", "netns", "list") or "[]"):
        if line["name"].startswith(f"{NAME}-"):
            succeeds("ip", "netns", "delete", line["name"])
    # Cables end with their namespace, but some moments later, and the next network's have the same names.
    for link in json.loads(run("ip", "-json", "link", "show") or "[]"):
        if link["ifname"].startswith(NAME):
            succeeds("ip", "link", "delete", link["ifname"])


def _cable(host: str) -> str:
    role, _, index = host.rpartition("-")
    return f"{NAME}{role[:2]}{index}"


def _add(host: str) -> None:
    inside, cable = namespace(host), _cable(host)
    run("ip", "netns", "add", inside)
    run("ip", "link", "add", cable, "master", NAME, "type", "veth", "peer", "name", "eth0", "netns", inside)
    run("ip", "link", "set", cable, "up")
    run("ip", "-n", inside, "link", "set", "lo", "up")
    run("ip", "-n", inside, "address", "add", f"{address(host)}/24", "dev", "eth0")
    run("ip", "-n", inside, "link", "set", "eth0", "up")
