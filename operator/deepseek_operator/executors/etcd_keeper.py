"""Keeps the etcd of one machine running: adopted if it still runs, started again empty when it has ended."""

import errno
import logging
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from deepseek_operator.executors import etcd, etcd_tls
from deepseek_operator.executors.etcd import EtcdFailed, EtcdProcess, NoSpace, Ports
from deepseek_operator.executors.etcd_tls import EtcdFiles
from deepseek_operator.executors.files import replace_file
from deepseek_operator.executors.processes import Ended, Process, Watch, with_argument
from deepseek_operator.reconcile.observe import EtcdSeen

logger = logging.getLogger(__name__)


class EtcdFile(BaseModel):
    """etcd.json: members know no other address, so the ports are kept for the job's life."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    client: int
    peer: int
    pid: int = 0
    started: int = 0
    incarnation: int = 0
    lost_at: float | None = None
    cause: str = ""
    """How the one before ended, where that was seen."""


def read_etcd_file(path: Path) -> EtcdFile | None:
    try:
        return EtcdFile.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def end_strays(folder: Path) -> None:
    """Ends an etcd with its data in `folder` that no etcd.json names: its starter died before it could write.

    All data there goes, nobody will read it again. The etcd that etcd.json names must be gone.
    """
    for pid, started in with_argument(f"--data-dir={folder}/"):
        process = Process.adopt(pid, started)
        if process is not None:
            process.kill()
            process.wait(10.0)
            process.close()
    etcd.clear(folder)


class EtcdKeeper:
    """file: etcd.json; folder: its data; secrets: the job's folder of keys; uid: the job's.

    `changed` is called from a thread of ours when it has ended.
    """

    def __init__(
        self, *, file: Path, folder: Path, secrets: Path, uid: str, log: Path, changed: Callable[[], None]
    ) -> None:
        self._path = file
        self._folder = folder
        self._secrets = secrets
        self._uid = uid
        self._log = log
        self._changed = changed
        self._lost_at: float | None = None
        self._cause = ""
        self._process: Process | None = None
        self._unsaved = False
        known = read_etcd_file(file)
        if known is None:
            ports = etcd.choose_ports()
            known = EtcdFile(client=ports.client, peer=ports.peer, incarnation=-1)
        self._known = known
        self._watch = Watch(self._ended)

    @property
    def ports(self) -> Ports:
        return Ports(self._known.client, self._known.peer)

    def seen(self) -> EtcdSeen:
        return EtcdSeen(max(0, self._known.incarnation), self._known.lost_at, self._known.cause)

    def begin(self, members_live: bool) -> None:
        """Adopts the one that an earlier supervisor left, or starts one. Raises EtcdMissing, EtcdFailed.

        members_live: members of this job run, so an etcd that does not was lost while nobody watched, and only its own
        ports will do. Else it was stopped with the job, and any ports will.
        """
        try:
            self._begin(members_live)
        except OSError as error:
            if self._process is not None and not members_live:
                self.stop()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(self._folder) from error
            raise EtcdFailed(f"etcd cannot be started: {error}") from error

    def _begin(self, members_live: bool) -> None:
        process = Process.adopt(self._known.pid, self._known.started) if self._known.pid else None
        if process is not None:
            logger.info("adopted etcd, pid %d", process.pid)
            self._hold(process)
        elif members_live:
            self._start(time.time())
        else:
            etcd_tls.make(self._secrets, self._uid)
            try:
                self._start(None)
            except NoSpace:
                raise
            except EtcdFailed as error:
                logger.warning("%s; trying other ports", error)
                ports = etcd.choose_ports()
                self._known = self._known.model_copy(update={"client": ports.client, "peer": ports.peer})
                self._start(None)

    def tend(self) -> bool:
        """Starts it again if it has ended; False if that failed and is to be tried again, as on a full disk."""
        try:
            if self._process is None:
                self._start(self._lost_at if self._lost_at is not None else time.time())
            elif self._unsaved:
                self._save(self._known)
        except (EtcdFailed, OSError) as error:
            logger.warning("etcd is not as it should be, tried again: %s", error)
            return False
        return True

    def stop(self) -> None:
        """Kills it: it has nothing to save."""
        process, self._process = self._process, None
        self._watch.close()
        if process is not None:
            process.kill()
            if not process.wait(10.0):
                logger.error("etcd, pid %d, cannot be killed", process.pid)
            process.reap()
            process.close()
        etcd.clear(self._folder)
        try:
            self._save(self._known.model_copy(update={"pid": 0, "started": 0}))
        except OSError as error:
            logger.warning("%s still names an etcd that has ended: %s", self._path, error)

    def leave(self) -> None:
        """Stops watching it; it goes on."""
        self._watch.close()

    def _start(self, lost_at: float | None) -> None:
        end_strays(self._folder)
        found: EtcdProcess = etcd.start(self._folder, self.ports, EtcdFiles.in_folder(self._secrets), log=self._log)
        process = Process.adopt(found.pid, found.started)
        if process is None:
            raise EtcdFailed("etcd ended as soon as it had answered")
        self._hold(process)  # it runs, whether that can be written down or not
        self._save(
            self._known.model_copy(
                update={
                    "pid": process.pid,
                    "started": process.started,
                    "incarnation": self._known.incarnation + 1,
                    "lost_at": lost_at,
                    "cause": self._cause,
                }
            )
        )

    def _hold(self, process: Process) -> None:
        self._process = process
        self._watch.add(process.handle)

    def _ended(self, handle: int) -> None:
        process = self._process
        if process is None or process.handle != handle:
            return
        self._lost_at = time.time()
        self._cause = _words(process.reap())
        self._watch.forget(handle)
        process.close()
        self._process = None
        logger.warning("etcd has ended (%s); an empty one takes its place", self._cause or "how is not known")
        self._changed()

    def _save(self, known: EtcdFile) -> None:
        self._known, self._unsaved = known, True
        replace_file(self._path, known.model_dump_json(indent=1).encode())
        self._unsaved = False


def _words(how: Ended) -> str:
    """Empty: an earlier supervisor started it, so nobody told us."""
    if how.signal is not None:
        return f"killed by signal {how.signal}"
    return f"exit code {how.code}" if how.code is not None else ""
