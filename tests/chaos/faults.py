"""What can be done to a running job. Each fault is a function of the job's folder and a seeded random."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from deepseek_operator import launch
from deepseek_operator.executors.etcd_keeper import read_etcd_file
from deepseek_operator.state_folder import StateFolder
from deepseek_runtime.contract.names import Member
from faults import linked

Fault = Callable[["Target"], str]


class Target:
    """A running job, and what the faults need to find in it."""

    def __init__(self, folder: StateFolder, manifest: Callable[[int], Path], random: random.Random) -> None:
        self.folder = folder
        self.manifest = manifest
        """Writes the job's YAML for so many servers."""
        self.random = random
        self.servers = 2
        self.workers = 3
        self.links = folder.path / "links"
        self.timers: list[threading.Timer] = []

    def members(self, role: str | None = None) -> list[tuple[Member, int]]:
        """Running members with their process ids."""
        return [
            (Member(m.role, m.index, m.incarnation), m.pid)
            for m in self.folder.status().members
            if m.phase == "running" and m.pid and role in (None, m.role)
        ]

    def kill(self, role: str, index: int | None = None) -> str:
        chosen = [(m, pid) for m, pid in self.members(role) if index is None or m.index == index]
        if not chosen:
            return f"no {role} to kill"
        member, pid = self.random.choice(chosen)
        _signal(pid, signal.SIGKILL)
        return f"killed {member}"

    def later(self, seconds: float, do: Callable[[], object]) -> None:
        timer = threading.Timer(seconds, do)
        timer.daemon = True
        self.timers.append(timer)
        timer.start()

    def settle(self) -> None:
        """Whatever was to be healed is healed now."""
        for timer in self.timers:
            timer.cancel()
            timer.join()
        for member, pid in self.members():
            _signal(pid, signal.SIGCONT)
            linked.tell(self.links, member, "heal server")
        self.timers.clear()


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def kill_worker(target: Target) -> str:
    return target.kill("worker")


def kill_server(target: Target) -> str:
    return target.kill("server")


def kill_chief(target: Target) -> str:
    return target.kill("server", 0)


def kill_etcd(target: Target) -> str:
    etcd = read_etcd_file(target.folder.etcd_file)
    if etcd is None or not etcd.pid:
        return "no etcd to kill"
    _signal(etcd.pid, signal.SIGKILL)
    return "killed etcd"


def kill_server_in_checkpoint(target: Target) -> str:
    """As soon as a step's folder has parts and no index yet."""
    until = time.monotonic() + 10.0
    while time.monotonic() < until:
        for step in target.folder.checkpoints.glob("t*/step-*"):
            if any(step.glob("*.safetensors*")) and not (step / "index.json").exists():
                return target.kill("server") + f" while {step.name} was written"
        time.sleep(0.001)  # a checkpoint comes by itself; there is nothing to wait on
    return target.kill("server")


def _link(target: Target, verb: str, more: str = "") -> str:
    members = target.members()
    member, _ = target.random.choice(members)
    server = target.random.randrange(target.servers)
    linked.tell(target.links, member, f"{verb} server-{server} {more}".strip())
    seconds = target.random.uniform(0.5, 8.0)
    target.later(seconds, lambda: linked.tell(target.links, member, f"heal server-{server}"))
    return f"{verb} {member} - server {server} for {seconds:.1f} s"


def cut_link(target: Target) -> str:
    return _link(target, "cut")


def stall_link(target: Target) -> str:
    return _link(target, "stall")


def delay_link(target: Target) -> str:
    return _link(target, "delay", "0.2")


def pause_member(target: Target) -> str:
    """SIGSTOP, longer than a heartbeat's patience."""
    member, pid = target.random.choice(target.members())
    seconds = target.random.uniform(1.0, 8.0)
    _signal(pid, signal.SIGSTOP)
    target.later(seconds, lambda: _signal(pid, signal.SIGCONT))
    return f"paused {member} for {seconds:.1f} s"


def scale_workers(target: Target) -> str:
    before = target.workers
    target.workers = target.random.choice([n for n in (2, 3, 4, 5) if n != before])
    target.folder.scale(target.workers)
    return f"workers {before} -> {target.workers}"


def drain_and_resume(target: Target) -> str:
    return _restart(target, target.servers)


def resize_servers(target: Target) -> str:
    """Drained, and restored to another number of servers."""
    return _restart(target, target.random.choice([n for n in (1, 2, 3) if n != target.servers]))


def _restart(target: Target, servers: int) -> str:
    target.settle()
    before = target.servers
    target.folder.request_stop()
    if not target.folder.wait(90.0):
        raise AssertionError("the job did not drain within 90 s")
    target.servers = servers
    launch.start(target.manifest(servers), target.folder.path.parent, resume=True)
    target.folder.scale(target.workers)
    return f"drained, servers {before} -> {servers}, resumed"


def kill_supervisor(target: Target) -> str:
    """Members and etcd go on; a new one adopts them."""
    process = target.folder.supervisor()
    if process is None:
        return "no supervisor to kill"
    process.kill()
    process.wait(10.0)
    process.close()
    launch.resume(target.folder.name, target.folder.path.parent)
    return "killed the supervisor, resumed"


FAULTS: dict[str, Fault] = {
    "kill-worker": kill_worker,
    "kill-server": kill_server,
    "kill-chief": kill_chief,
    "kill-etcd": kill_etcd,
    "kill-in-checkpoint": kill_server_in_checkpoint,
    "cut-link": cut_link,
    "stall-link": stall_link,
    "delay-link": delay_link,
    "pause": pause_member,
    "scale-workers": scale_workers,
    "drain": drain_and_resume,
    "resize-servers": resize_servers,
    "kill-supervisor": kill_supervisor,
}
