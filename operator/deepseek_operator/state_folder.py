"""The state folder of a job on one machine: $XDG_STATE_HOME/dsj/<name>/, and what may be asked of the job through it.

    job.yaml            the job as last given, paths absolute
    identity.json       uid, generation of intent, the user's code: fixed when the job was started
    control.json        what was asked for since: workers, suspend, kill (below)
    status.json         JobStatus; written by the supervisor alone
    config-<hash>.json  what members read
    etcd.json           ports and process of the local etcd
    secrets/ etcd/ logs/<member>.log exits/<member>.json checkpoints/ code-<hash>/ metrics.jsonl
    lock                flocked by the supervisor as long as it lives; holds its pid and start time

Control: control.json is what is wanted, whole, so that nothing is lost when nobody listens; SIGUSR1 wakes the
supervisor to read it. SIGTERM to the supervisor is the same as asking it to drain.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.load import read_job_text
from deepseek_operator.api.scale import check_scale
from deepseek_operator.api.status import JobStatus
from deepseek_operator.executors.etcd_keeper import end_strays, read_etcd_file
from deepseek_operator.executors.files import replace_file
from deepseek_operator.executors.orphans import end_heirs
from deepseek_operator.executors.processes import Process, leaders_with, start_ticks
from deepseek_operator.place import Unreadable
from deepseek_runtime.contract.config import Timing
from deepseek_runtime.contract.names import ENV_EXIT_FILE, Role

ModelT = TypeVar("ModelT", bound=BaseModel)
HANDS_OVER = 0.05
"""Seconds between two looks at who holds the lock, while it is in the hands of somebody who starts a supervisor."""


class StateBroken(Unreadable):
    """A file of the state folder cannot be read. The message is for people."""


class Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Identity(Stored):
    uid: str
    generation: str
    """Hash of the user's intent: names the config document."""
    code_dir: str | None = None
    code_digest: str = ""
    timing: Timing = Timing(progress=0.5)
    commands: dict[Role, tuple[str, ...]] | None = None
    """What is run as a server and as a worker; None: the runtime's own modules."""


class Control(Stored):
    uid: str = ""
    """Of the job that was meant: what was asked of one that was replaced since is void."""
    workers: int | None = None
    """None: as job.yaml says; so too of servers."""
    servers: int | None = None
    suspend: bool = False
    kill: bool = False


class Holder(Stored):
    """Who holds the lock. A process that only starts a supervisor must not be sent a supervisor's signals."""

    pid: int
    started: int
    supervises: bool


def default_state_root() -> Path:
    """$XDG_STATE_HOME/dsj, by default ~/.local/state/dsj."""
    home = os.environ.get("XDG_STATE_HOME")
    base = Path(home) if home and os.path.isabs(home) else Path.home() / ".local" / "state"
    return base / "dsj"


class StateFolder:
    """Paths, files and requests. Everything may be called from any process; only the supervisor writes the status."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.job_file = self.path / "job.yaml"
        self.identity_file = self.path / "identity.json"
        self.control_file = self.path / "control.json"
        self.status_file = self.path / "status.json"
        self.etcd_file = self.path / "etcd.json"
        self.lock_file = self.path / "lock"
        self.metrics_file = self.path / "metrics.jsonl"
        self.secrets = self.path / "secrets"
        self.etcd = self.path / "etcd"
        self.logs = self.path / "logs"
        self.exits = self.path / "exits"
        self.checkpoints = self.path / "checkpoints"

    @property
    def name(self) -> str:
        return self.path.name

    def config_file(self, generation: str) -> Path:
        return self.path / f"config-{generation}.json"

    def exists(self) -> bool:
        """Whether a job was ever started here."""
        return self.identity_file.exists()

    # reading

    def job(self) -> DeepseekJob:
        """Raises StateBroken, ManifestError."""
        return read_job_text(_text(self.job_file), str(self.job_file))

    def identity(self) -> Identity:
        """Raises StateBroken."""
        return _read(Identity, self.identity_file)

    def control(self) -> Control:
        """What was asked of the job that is there now. Raises StateBroken."""
        control = _read(Control, self.control_file) if self.control_file.exists() else Control()
        return control if control.uid in ("", self.uid()) else Control()

    def uid(self) -> str:
        """Of the job that is there now; empty: there is none, or its identity cannot be read."""
        try:
            return self.identity().uid
        except StateBroken:
            return ""

    def status(self) -> JobStatus:
        """As the supervisor last wrote it; an empty one before that. Raises StateBroken."""
        return _read(JobStatus, self.status_file) if self.status_file.exists() else JobStatus()

    def save_status(self, status: JobStatus) -> None:
        """By the supervisor alone. Raises OSError."""
        replace_file(self.status_file, status.model_dump_json(by_alias=True, indent=1).encode())

    # who runs it

    def take_lock(self) -> int | None:
        """The locked file's descriptor, which holds the lock until it (and each copy of it) is closed; None: taken.

        Raises OSError.
        """
        while True:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                self.path.mkdir(exist_ok=True, mode=0o700)
                descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue  # the folder was deleted since
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            if self._is_the_lock(descriptor):
                self.hold(descriptor, supervises=False)
                return descriptor
            os.close(descriptor)  # deleted since it was opened: whoever comes next makes another

    def _is_the_lock(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self.lock_file.stat())
        except FileNotFoundError:
            return False

    def hold(self, descriptor: int, *, supervises: bool) -> None:
        """Writes into the lock who has it."""
        pid = os.getpid()
        holder = Holder(pid=pid, started=start_ticks(pid) or 0, supervises=supervises)
        # One write of one length: nobody reads half of it.
        os.pwrite(descriptor, holder.model_dump_json().ljust(100).encode(), 0)

    def let_go(self, descriptor: int) -> None:
        """Gives back a lock that no supervisor has taken over."""
        os.pwrite(descriptor, Holder(pid=0, started=0, supervises=False).model_dump_json().ljust(100).encode(), 0)
        os.close(descriptor)

    def alive(self) -> bool:
        """Whether a supervisor runs, or somebody is starting one."""
        holder = self._holder()
        return holder is not None and holder.pid > 0 and start_ticks(holder.pid) == holder.started

    def supervisor(self) -> Process | None:
        """The supervisor's process, to be closed by the caller; None: it does not run."""
        holder = self._holder()
        return Process.adopt(holder.pid, holder.started) if holder is not None and holder.supervises else None

    def _holder(self) -> Holder | None:
        try:
            return _read(Holder, self.lock_file)
        except StateBroken:
            return None

    def wait(self, timeout: float) -> bool:
        """Whether the supervisor has ended within `timeout` seconds, also one that is only being started."""
        end = time.monotonic() + timeout
        while True:
            left = max(0.0, end - time.monotonic())
            supervisor = self.supervisor()
            if supervisor is not None:
                try:
                    return ended(supervisor, left)
                finally:
                    supervisor.close()
            if not self.alive():
                return True
            if left == 0:
                return False
            time.sleep(min(left, HANDS_OVER))  # whoever starts it goes on living when the lock has gone on

    # asking

    def scale(self, workers: int | None = None, servers: int | None = None) -> None:
        """Asks for other numbers of members (None: as they are). Raises ValueError outside the job's bounds,
        StateBroken, OSError."""
        check_scale(self.job(), workers, servers)
        wanted = {"workers": workers, "servers": servers}
        self.ask(None, **{role: count for role, count in wanted.items() if count is not None})

    def request_stop(self, drain: bool = True) -> None:
        """Drains the job and leaves it suspended; or kills it. Without a supervisor what was left behind is killed.

        Returns at once; `wait` waits for the end. Raises StateBroken, OSError.
        """
        self.ask(suspend=True, kill=not drain)
        self.sweep()

    def ask(self, of: str | None = None, **changes: Any) -> bool:
        """Changes control.json and wakes the supervisor. `of`: the uid of the job that is meant, None: the one there.

        False: another job has taken its place. Raises StateBroken, OSError.
        """
        with self._controlling():
            uid = self.uid()
            if of not in (None, uid):
                return False
            control = self.control().model_copy(update={**changes, "uid": uid})
            replace_file(self.control_file, control.model_dump_json(indent=1).encode())
        self.wake()
        return True

    def wake(self) -> None:
        process = self.supervisor()
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process.handle, signal.SIGUSR1)
            process.close()

    @contextlib.contextmanager
    def _controlling(self) -> Iterator[None]:
        """Two commands at once do not overwrite each other's part."""
        descriptor = os.open(self.path / "control.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    # what a killed supervisor leaves

    def left_behind(self) -> list[Process]:
        """Living members and etcd of this job, each to be closed by the caller."""
        try:
            members = self.status().members
        except StateBroken:
            members = ()
        named = [(m.pid, int(m.started)) for m in members if m.pid is not None and m.started.isdigit()]
        named += [(pid, started) for pid, started, _ in leaders_with(ENV_EXIT_FILE, self.exits)]
        etcd = read_etcd_file(self.etcd_file)
        if etcd is not None and etcd.pid:
            named.append((etcd.pid, etcd.started))
        found = [Process.adopt(pid, started) for pid, started in sorted(set(named))]
        return [process for process in found if process is not None]

    def members_live(self) -> bool:
        etcd = read_etcd_file(self.etcd_file)
        left = self.left_behind()
        pids = [process.pid for process in left if etcd is None or process.pid != etcd.pid]
        _close(left)
        return bool(pids)

    def sweep(self) -> None:
        """Kills what a killed supervisor left, unless somebody runs the job. Raises OSError."""
        lock = self.take_lock() if self.path.is_dir() else None
        if lock is not None:
            try:
                self.end_left_behind()
            finally:
                self.let_go(lock)

    def end_left_behind(self) -> None:
        """Kills what a killed supervisor left. The caller holds the lock, or knows that nobody else would."""
        left = self.left_behind()
        for process in left:
            process.kill()
        for process in left:
            if process.wait(10.0):
                process.reap()
        _close(left)
        end_heirs(ENV_EXIT_FILE, lambda file: file.parent == self.exits)
        end_strays(self.etcd)

    def clear(self) -> None:
        """Deletes everything but the lock."""
        for entry in self.path.iterdir():
            if entry == self.lock_file:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def remove(self, lock: int) -> None:
        """Deletes the folder. `lock`: as `take_lock` gave it; it is given back. Raises OSError."""
        try:
            self.clear()
            self.lock_file.unlink(missing_ok=True)  # still locked: who waits for it sees that it is gone
        finally:
            os.close(lock)
        with contextlib.suppress(OSError):  # somebody makes a new one just then
            self.path.rmdir()


def ended(process: Process, timeout: float) -> bool:
    """Whether it has ended within `timeout` seconds; if it was our child, nothing is left of it."""
    if not process.wait(timeout):
        return False
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    return True


def _close(processes: Sequence[Process]) -> None:
    for process in processes:
        process.close()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StateBroken(f"cannot read {path}: {error}") from error


def _read(model: type[ModelT], path: Path) -> ModelT:
    try:
        return model.model_validate_json(_text(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise StateBroken(f"{path} cannot be read: {where}: {first['msg']}") from error
