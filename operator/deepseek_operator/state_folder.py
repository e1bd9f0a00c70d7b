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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.load import read_job_text
from deepseek_operator.api.status import JobStatus
from deepseek_operator.executors.etcd_keeper import end_strays, read_etcd_file
from deepseek_operator.executors.files import replace_file
from deepseek_operator.executors.processes import Process, leaders_with, start_ticks
from deepseek_runtime.contract.config import Timing
from deepseek_runtime.contract.names import ENV_EXIT_FILE, Role

ModelT = TypeVar("ModelT", bound=BaseModel)


class StateBroken(Exception):
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
    workers: int | None = None
    """None: as job.yaml says."""
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
        """Raises StateBroken."""
        return _read(Control, self.control_file) if self.control_file.exists() else Control()

    def status(self) -> JobStatus:
        """As the supervisor last wrote it; an empty one before that. Raises StateBroken."""
        return _read(JobStatus, self.status_file) if self.status_file.exists() else JobStatus()

    def save_status(self, status: JobStatus) -> None:
        """By the supervisor alone. Raises OSError."""
        replace_file(self.status_file, status.model_dump_json(by_alias=True, indent=1).encode())

    # who runs it

    def take_lock(self) -> int | None:
        """The locked file's descriptor, which holds the lock until it (and each copy of it) is closed; None: taken."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        self.hold(descriptor, supervises=False)
        return descriptor

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
        return holder is not None and start_ticks(holder.pid) == holder.started

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
        """Whether the supervisor has ended within `timeout` seconds."""
        process = self.supervisor()
        if process is None:
            return not self.alive()
        try:
            ended = process.wait(timeout)
            if ended:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)
            return ended
        finally:
            process.close()

    # asking

    def scale(self, workers: int) -> None:
        """Asks for another number of workers. Raises ValueError outside the job's bounds, StateBroken, OSError."""
        bounds = self.job().spec.workers
        most = bounds.max if bounds.max is not None else 1024
        if not bounds.min <= workers <= most:
            raise ValueError(f"{workers} workers: spec.workers allows {bounds.min} to {most}")
        self.ask(workers=workers)

    def request_stop(self, drain: bool = True) -> None:
        """Drains the job and leaves it suspended; or kills it. Without a supervisor what was left behind is killed.

        Returns at once; `wait` waits for the end. Raises StateBroken, OSError.
        """
        self.ask(suspend=True, kill=not drain)
        if not self.alive():
            self.end_left_behind()

    def ask(self, **changes: Any) -> None:
        """Changes control.json and wakes the supervisor."""
        with self._controlling():
            control = self.control().model_copy(update=changes)
            replace_file(self.control_file, control.model_dump_json(indent=1).encode())
        self.wake()

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

    def end_left_behind(self) -> None:
        """Kills what a killed supervisor left. The caller has made sure that no supervisor runs."""
        left = self.left_behind()
        for process in left:
            process.kill()
        for process in left:
            if process.wait(10.0):
                process.reap()
        _close(left)
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
