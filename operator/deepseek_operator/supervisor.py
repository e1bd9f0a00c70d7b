"""The supervisor of a job on one machine: `python -m deepseek_operator.supervisor --state DIR`.

A process in a session of its own that holds the state folder's lock, keeps etcd running, and runs the operator's rounds
with the local executor until the job has ended (done, failed or suspended) and no member is left. Then it stops etcd
and leaves nothing behind. Killed, it leaves all of them running; the next one adopts them.

SIGTERM: drain (a second one: kill). SIGUSR1: control.json or job.yaml has changed. state_folder.py has the rest.
"""

import argparse
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deepseek_operator.api.config import job_config
from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.problems import ManifestError
from deepseek_operator.api.status import JobStatus
from deepseek_operator.executors.etcd import EtcdFailed, EtcdMissing
from deepseek_operator.executors.etcd_keeper import EtcdKeeper
from deepseek_operator.executors.files import replace_file
from deepseek_operator.executors.local import LocalExecutor
from deepseek_operator.executors.orphans import Reaper, adopt_orphans, end_descendants
from deepseek_operator.executors.processes import module_command, python_environment
from deepseek_operator.loop import RETRY, Queue, Round
from deepseek_operator.reconcile.intent import Intent
from deepseek_operator.state_folder import Identity, StateBroken, StateFolder
from deepseek_runtime.contract.config import ConfigError, EtcdTls, JobConfig, Training, load_config
from deepseek_runtime.contract.exit_codes import CONFIG, CRASHED, MISSING_INPUT, OK
from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.contract.names import ENV_CONFIG, ENV_SECRETS, Member, Role
from deepseek_runtime.membership import Membership, TlsFiles

logger = logging.getLogger("deepseek_operator.supervisor")

INSTALL = "local"
LISTENS = 5.0
"""Seconds after which control.json is looked at even if nobody rang."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


class CannotStart(Exception):
    """The job cannot be started here; the message is for people. code: an exit code of the contract."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Supervisor:
    """One job's, from its adoption to its end. The caller holds the folder's lock."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self._queue = Queue()
        self._read = _Wanted(folder)
        self._ring()

    def begin(self) -> None:
        """Etcd runs, earlier members are adopted, the config document is written. Raises CannotStart."""
        folder = self._folder
        try:
            job, identity, status = folder.job(), folder.identity(), folder.status()
        except (StateBroken, ManifestError) as error:
            raise CannotStart(str(error), CONFIG) from error
        members_live = folder.members_live()
        self._keeper = EtcdKeeper(
            file=folder.etcd_file,
            folder=folder.etcd,
            secrets=folder.secrets,
            uid=identity.uid,
            log=folder.logs / "etcd.log",
            changed=self._ring,
        )
        try:
            self._keeper.begin(members_live)
        except (EtcdMissing, EtcdFailed) as error:
            raise CannotStart(str(error), MISSING_INPUT if isinstance(error, EtcdMissing) else CRASHED) from error
        try:
            self._set_up(job, identity, status, members_live)
        except BaseException:
            if not members_live:
                self._keeper.stop()
            raise

    def _set_up(self, job: DeepseekJob, identity: Identity, status: JobStatus, members_live: bool) -> None:
        folder = self._folder
        endpoint = self._keeper.ports.endpoint
        config = job_config(
            job,
            uid=identity.uid,
            generation=identity.generation,
            etcd=(endpoint,),
            etcd_tls=EtcdTls(),
            checkpoint_uri_default=folder.checkpoints.as_uri(),
            code_dir=identity.code_dir,
            data_dir=str(folder.path),
            install=INSTALL,
            timing=identity.timing,
        )
        config_file = folder.config_file(identity.generation)
        told = _told(config_file) if members_live else None
        if told is None:
            replace_file(config_file, config.model_dump_json(indent=1).encode())
        else:  # nothing in it changes while a member lives
            config = _going_on(told, config)
        self._config = config
        self._read.training = config.training
        if not members_live:
            _make_keys(folder)
        commands: Mapping[Role, Sequence[str]] = identity.commands or {
            "server": module_command("deepseek_runtime.server"),
            "worker": module_command("deepseek_runtime.worker"),
        }
        common = {**python_environment(), ENV_CONFIG: str(config_file), ENV_SECRETS: str(folder.secrets)}
        share = max(1, (os.cpu_count() or 1) // max(1, job.spec.workers.replicas))
        self._executor = LocalExecutor(
            logs=folder.logs,
            exits=folder.exits,
            commands=commands,
            environment=lambda member: _environment(common, member, share),
            changed=self._ring,
        )
        self._executor.adopt(status.members)
        keys = JobKeys.of(INSTALL, job.namespace, job.name, identity.uid)
        self._membership = Membership(
            (endpoint,), keys, tls=TlsFiles.of(config.etcd_tls, folder.secrets), on_change=self._ring
        )
        self._membership.start()
        self._round = Round(
            executor=self._executor,
            etcd=self._membership,
            save=folder.save_status,
            status=status,
            etcd_seen=self._keeper.seen,
        )

    def run(self) -> int:
        """Rounds until the job has ended; its exit code (0 when it is suspended)."""
        key = self._folder.name
        reaper = Reaper()
        while True:
            reaper.tend(time.monotonic())
            if self._queue.get(LISTENS) is None and not self._read.changed():
                continue
            tended = self._keeper.tend()
            made, due = self._round.once(self._read.intent())
            if made.ended and not self._round.unsaved and not self._read.changed():
                break
            if due is not None or not tended:
                self._queue.add(key, min(due if due is not None else RETRY, LISTENS if tended else RETRY))
        self._membership.close()
        self._executor.close()
        self._keeper.stop()
        left = end_descendants()
        if left:
            logger.info("ended with the job, whose members had started them: %s", ", ".join(map(str, left)))
        self._count()
        logger.info("the job has ended: %s", self._round.status.phase)
        return self._round.status.exit_code or OK

    def _count(self) -> None:
        """Into the last status: samples lost and repeated, counted from the servers' journals when all is over."""
        status = self._round.status
        if status.progress is None or status.progress.samples_counted:  # by the chief, where it has the journals
            return
        try:
            from deepseek_runtime.audit import CannotCount, audit  # numpy is not needed before
            from deepseek_runtime.checkpoint.store import StoreError
        except ImportError as error:
            logger.info("samples are not counted: %s", error)
            return
        try:
            counted = audit(self._config)
            for problem in counted.problems:
                logger.warning("the count of samples is unsure: %s", problem)
            update = {
                "samples_counted": True,
                "samples_lost": counted.samples_lost,
                "samples_repeated": counted.samples_repeated,
                "samples_rolled_back": counted.samples_rolled_back,
                "samples_skipped": counted.samples_skipped,
                "residual_lost": counted.residual_lost,
                "pushed": counted.pushed,
            }
            progress = status.progress.model_copy(update=update)
            self._folder.save_status(status.model_copy(update={"progress": progress}))
        except (CannotCount, StoreError, OSError) as error:
            logger.warning("samples are not counted: %s", error)

    def listen(self) -> None:
        """Waits for signals, which all threads must have blocked, for ever."""
        stopping = False
        while True:
            if signal.sigwait(SIGNALS) != signal.SIGUSR1:
                self._folder.request_stop(drain=not stopping)
                stopping = True
            self._ring()

    def _ring(self) -> None:
        self._queue.add(self._folder.name)


class _Wanted:
    """What is asked for now: job.yaml with control.json over it, read again when either has changed."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self._files = (folder.job_file, folder.control_file)
        self._known: tuple[object, ...] = ()
        self._intent: Intent | None = None
        self.training: Training | None = None
        """What members were told: a job.yaml that is longer counts when they start again."""

    def changed(self) -> bool:
        return self._stamps() != self._known

    def intent(self) -> Intent:
        stamps = self._stamps()
        if self._intent is None or stamps != self._known:
            try:
                self._intent = self._load()
            except (StateBroken, ManifestError) as error:
                if self._intent is None:
                    raise
                logger.error("goes on as before: %s", error)
            self._known = stamps
        return self._intent

    def _load(self) -> Intent:
        identity, control = self._folder.identity(), self._folder.control()
        intent = Intent.of(self._folder.job(), identity.uid, identity.generation)
        workers = control.workers if control.workers is not None else intent.workers
        told = self.training or intent
        return replace(
            intent,
            steps=told.steps,
            epochs=told.epochs,
            servers=control.servers if control.servers is not None else intent.servers,
            workers=workers,
            workers_min=min(intent.workers_min, workers),
            suspend=intent.suspend or control.suspend,
            kill=control.kill,
        )

    def _stamps(self) -> tuple[object, ...]:
        found: list[object] = []
        for file in self._files:
            try:
                status = file.stat()
                found.append((status.st_mtime_ns, status.st_ino))
            except FileNotFoundError:
                found.append(None)
        return tuple(found)


def _told(file: Path) -> JobConfig | None:
    """What living members read at their start; None: there is no such document."""
    try:
        return load_config(file)
    except ConfigError as error:
        logger.warning("written anew, although members live: %s", error)
        return None


def _going_on(told: JobConfig, now: JobConfig) -> JobConfig:
    before, after = (one.training.steps or one.training.epochs for one in (told, now))
    if before != after:
        logger.warning(
            "members go on to %s; %s counts when they start again: `dsj stop %s`, then `dsj run --resume`",
            before, after, told.job,
        )  # fmt: skip
    return told


def _environment(common: Mapping[str, str], member: Member, share: int) -> Mapping[str, str]:
    """Workers share the machine's cores: each library's own default is all of them, for each worker."""
    threads = share if member.role == "worker" else 1
    defaults = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    return {**defaults, **common}


def _make_keys(folder: StateFolder) -> None:
    from deepseek_runtime.transport.curve import make_job_keys  # zmq is not needed before

    make_job_keys(folder.secrets)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deepseek_operator.supervisor")
    parser.add_argument("--state", type=Path, required=True, help="the job's state folder")
    parser.add_argument("--lock", type=int, default=-1, help="descriptor of the lock, already taken")
    parser.add_argument("--ready", type=int, default=-1, help="descriptor that is told when the job has begun")
    options = parser.parse_args(arguments)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    folder = StateFolder(options.state)
    lock = options.lock if options.lock >= 0 else folder.take_lock()
    if lock is None:
        print(f"the job {folder.name} has a supervisor already", file=sys.stderr)  # noqa: T201 -- a command's answer
        return CRASHED
    for descriptor in (lock, options.ready):
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)  # else etcd and members would hold them after us
    folder.hold(lock, supervises=True)
    os.environ.update(python_environment())  # before the folder changes: what is relative would mean another one
    os.chdir(folder.path)
    adopt_orphans()
    supervisor = Supervisor(folder)
    try:
        supervisor.begin()
    except CannotStart as error:
        logger.error("%s", error)
        _tell(options.ready, {"error": str(error), "code": error.code})
        return error.code
    threading.Thread(target=supervisor.listen, name="signals", daemon=True).start()
    _tell(options.ready, {})
    return supervisor.run()


def _tell(descriptor: int, answer: dict[str, object]) -> None:
    """Whoever started us may be gone by now."""
    if descriptor >= 0:
        try:
            os.write(descriptor, json.dumps(answer).encode() + b"\n")
        except BrokenPipeError:
            logger.info("nobody waits for this job's start")
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
