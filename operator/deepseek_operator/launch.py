"""Starting a job on one machine: its state folder is made or taken over, and a supervisor is started on it.

folder = start("job.yaml")                     # refused if a job of this name exists
folder = start("job.yaml", replace=True)       # ends and deletes that one first
folder = start("job.yaml", resume=True)        # goes on with that one: adopts its members, or begins at its checkpoint
folder = resume("digits")                      # the same with the job as it was last given
"""

import contextlib
import json
import os
import select
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from deepseek_operator.api.changes import change_kind
from deepseek_operator.api.config import intent_hash
from deepseek_operator.api.load import Manifest, dump_job, load_manifest
from deepseek_operator.api.problems import is_text
from deepseek_operator.api.status import JobStatus
from deepseek_operator.executors.files import replace_file
from deepseek_operator.executors.processes import Process, module_command, python_environment
from deepseek_operator.reconcile.policies.suspend import reopened
from deepseek_operator.state_folder import Control, Identity, StateBroken, StateFolder, default_state_root, ended
from deepseek_runtime.contract.config import Timing
from deepseek_runtime.contract.exit_codes import CONFIG, CRASHED, OK, USAGE
from deepseek_runtime.contract.names import COMMAND, Role

BEGINS_WITHIN = 90.0
"""Seconds: etcd's own start may take 20, twice when its ports are taken."""
ENDS_WITHIN = 60.0


class StartRefused(Exception):
    """The job was not started. The message is for people, `hint` says what to do; code: the command's exit code."""

    def __init__(self, message: str, hint: str = "", code: int = USAGE) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


def start(
    job: Path | str | Manifest,
    state_root: Path | None = None,
    *,
    replace: bool = False,
    resume: bool = False,
    timing: Timing | None = None,
    commands: dict[Role, tuple[str, ...]] | None = None,
) -> StateFolder:
    """Starts a detached supervisor and returns when it holds the lock and etcd runs.

    timing, commands: for tests; what is run as a server and as a worker. Raises ManifestError, StartRefused, OSError.
    """
    manifest = job if isinstance(job, Manifest) else load_manifest(job)
    folder = StateFolder((state_root or default_state_root()) / manifest.job.name)
    with _writable(folder):
        lock = _lock(folder, replace, resume)
    if lock is None:
        return folder
    with _held(folder, lock):
        with _writable(folder):
            if folder.exists() and resume:
                _take_over(folder, manifest)
            else:
                if folder.exists():
                    folder.end_left_behind()
                folder.clear()
                _lay_out(folder, manifest, timing, commands)
        _launch(folder, lock)
    return folder


def resume(name: str, state_root: Path | None = None) -> StateFolder:
    """Goes on with a job as it was last given. Raises StartRefused, StateBroken, OSError."""
    folder = StateFolder((state_root or default_state_root()) / name)
    if not folder.exists():
        hint = f"start it with `{COMMAND} run JOB.yaml`"
        raise StartRefused(f"there is no job {name} in {folder.path.parent}", hint)
    with _writable(folder):
        lock = _lock(folder, False, True)
    if lock is None:
        return folder
    with _held(folder, lock):
        with _writable(folder):
            _reopen(folder)
        _launch(folder, lock)
    return folder


@contextlib.contextmanager
def _writable(folder: StateFolder) -> Iterator[None]:
    if not is_text(str(folder.path)):
        message = f"the job's folder {folder.path} has a name that is no UTF-8"
        raise StartRefused(message, "let XDG_STATE_HOME name another folder for jobs")
    try:
        yield
    except OSError as error:
        message = f"the job's folder {folder.path} cannot be written: {error.strerror or error}"
        remedy = "make room or give yourself the right, or let XDG_STATE_HOME name another folder for jobs"
        raise StartRefused(message, remedy, CRASHED) from error


@contextlib.contextmanager
def _held(folder: StateFolder, lock: int) -> Iterator[None]:
    """The lock is the supervisor's after the block, or nobody's when it raised: then what is no job yet is gone too."""
    try:
        yield
    except BaseException:
        if folder.exists():
            folder.let_go(lock)
        else:
            with contextlib.suppress(OSError):
                folder.remove(lock)
        raise
    os.close(lock)


def _lock(folder: StateFolder, replace: bool, resume: bool) -> int | None:
    """The lock of a folder whose job may be started; None: it runs, and now it runs on."""
    uid = folder.uid()  # before who runs it is asked: of whoever does, or of one before
    lock = folder.take_lock()
    if lock is None and replace:
        lock = _end(folder, uid)
    if lock is None:
        if resume and folder.control().suspend:
            folder.ask(suspend=False, kill=False)
            return None
        raise _taken(folder)
    if folder.exists() and not (replace or resume):
        folder.let_go(lock)
        raise StartRefused(
            f"a job {folder.name} was started here before ({_phase(folder)})",
            "--resume goes on with it, --replace deletes it and starts anew",
        )
    return lock


def _end(folder: StateFolder, uid: str) -> int | None:
    """Ends the job of this uid, and it alone; then the lock, or None: another command is starting a job here."""
    supervisor = folder.supervisor()
    if supervisor is None:
        return folder.take_lock()
    try:
        if not uid or not folder.ask(of=uid, suspend=True, kill=True):
            return None
        if not ended(supervisor, ENDS_WITHIN):
            hint = f"`{COMMAND} why {folder.name}` says what it waits for; its log: {folder.logs}/supervisor.log"
            raise StartRefused(f"the job {folder.name} did not end within {ENDS_WITHIN:g} s", hint, CRASHED)
    finally:
        supervisor.close()
    return folder.take_lock()


def _taken(folder: StateFolder) -> StartRefused:
    name = folder.name
    supervisor = folder.supervisor()
    if supervisor is None:
        return StartRefused(f"another command is just starting the job {name}", f"`{COMMAND} watch {name}` shows it")
    supervisor.close()
    ways = f"`{COMMAND} watch {name}` shows it, `{COMMAND} stop {name}` ends it, --replace starts it anew"
    return StartRefused(f"the job {name} is running", ways)


def _phase(folder: StateFolder) -> str:
    try:
        return folder.status().phase
    except StateBroken:
        return "its status cannot be read"


def _lay_out(
    folder: StateFolder, manifest: Manifest, timing: Timing | None, commands: dict[Role, tuple[str, ...]] | None
) -> None:
    for part in (folder.logs, folder.exits, folder.checkpoints, folder.etcd):
        part.mkdir(mode=0o700, exist_ok=True)
    digest = manifest.code.digest if manifest.code is not None else ""
    identity = Identity(
        uid=str(uuid.uuid4()),
        generation=intent_hash(manifest.job, digest),
        code_dir=str(manifest.code.place(folder.path)) if manifest.code is not None else None,
        code_digest=digest,
        timing=timing or Identity.model_fields["timing"].default,
        commands=commands,
    )
    replace_file(folder.job_file, dump_job(manifest.job).encode())
    folder.save_status(JobStatus(uid=identity.uid))
    replace_file(folder.identity_file, identity.model_dump_json(indent=1).encode())


def _take_over(folder: StateFolder, manifest: Manifest) -> None:
    """The job goes on as `manifest` says now, if that is a change that it can take."""
    identity = folder.identity()
    digest = manifest.code.digest if manifest.code is not None else ""
    change = change_kind(folder.job(), manifest.job, identity.code_digest, digest)
    if change.kind == "refused":
        raise StartRefused(change.message, "or --replace starts it anew", CONFIG)
    if change.kind == "roll" and folder.members_live():
        raise StartRefused(
            f"members of {folder.name} still run, with another {', '.join(change.fields)}",
            f"`{COMMAND} stop {folder.name}` first: members that start again take the change",
        )
    code_dir = str(manifest.code.place(folder.path)) if manifest.code is not None else None
    _reopen(folder)
    if manifest.job.spec.workers.replicas != folder.job().spec.workers.replicas:
        folder.ask(workers=None, servers=None)  # the newer word: what was scaled before it is void
    identity = identity.model_copy(
        update={
            "generation": intent_hash(manifest.job, digest),
            "code_dir": code_dir,
            "code_digest": digest,
        }
    )
    replace_file(folder.job_file, dump_job(manifest.job).encode())
    replace_file(folder.identity_file, identity.model_dump_json(indent=1).encode())


def _reopen(folder: StateFolder) -> None:
    status = folder.status()
    if status.finished and status.exit_code == OK:
        raise StartRefused(f"the job {folder.name} has finished", "--replace deletes it and starts anew")
    if status.finished:
        status = reopened(status)
    # What people see until the supervisor has looked; conditions carry the truth.
    status = status.model_copy(update={"phase": "Starting", "message": ""})
    if not folder.members_live():
        # All gone at once, with their supervisor: the machine went down, and that is nobody's failure to be counted.
        status = status.model_copy(update={"members": ()})
    folder.save_status(status)
    before = folder.control()
    asked = Control(uid=folder.uid(), workers=before.workers, servers=before.servers)
    replace_file(folder.control_file, asked.model_dump_json(indent=1).encode())


def _launch(folder: StateFolder, lock: int) -> None:
    """Starts the supervisor with the lock in its hand, and waits until it says that the job has begun."""
    reader, writer = os.pipe()
    log = folder.logs / "supervisor.log"
    folder.logs.mkdir(parents=True, exist_ok=True)
    command = module_command("deepseek_operator.supervisor")
    arguments = [*command, "--state", str(folder.path), "--lock", str(lock), "--ready", str(writer)]
    try:
        for descriptor in (lock, writer):
            os.set_inheritable(descriptor, True)
        process = Process.spawn(arguments, python_environment(), log)
    finally:
        os.close(writer)
    answer = None
    try:
        answer = _answer(reader)
    except KeyboardInterrupt:
        process.kill()  # at once: another Ctrl-C may come while it is waited for
        raise
    finally:
        os.close(reader)
        if answer != {}:  # it ends by itself, unless it hangs
            if not process.wait(5.0):
                process.kill()
            process.reap()
        process.close()
    if answer is None:
        raise StartRefused(f"the supervisor of {folder.name} ended at once", f"its log: {log}", CRASHED)
    if answer:
        raise StartRefused(str(answer.get("error")), f"its log: {log}", int(str(answer.get("code", CRASHED))))


def _answer(reader: int) -> dict[str, object] | None:
    """What the supervisor says; empty: it has begun; None: it died without a word."""
    said = b""
    end = time.monotonic() + BEGINS_WITHIN
    while not said.endswith(b"\n"):
        left = end - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            raise StartRefused(f"the supervisor did not begin within {BEGINS_WITHIN:g} s", code=CRASHED)
        part = os.read(reader, 65536)
        if not part:
            break
        said += part
    if not said:
        return None
    answer = json.loads(said)
    return answer if isinstance(answer, dict) else None
