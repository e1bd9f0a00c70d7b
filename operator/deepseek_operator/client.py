"""Jobs from Python, on this machine or in a cluster: start one, or take up one that was started elsewhere.

    from deepseek_operator import run
    job = run("train.py", workers=3)
    for line in job.logs(follow=True): print(line)
    print(job.result().metrics, job.result().model)

In a cluster: run("train.py", workers=3, cluster=True), or cluster="context" and namespace="ml"; attach() the same.

A job has processes of its own: it goes on when this one ends, or is interrupted, and `attach(name)` finds it again from
any other. No call here has a time-out unless it is given one.
"""

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from deepseek_operator import launch, place
from deepseek_operator.api.load import Manifest
from deepseek_operator.api.status import JobEvent, JobStatus
from deepseek_operator.compose import compose, laid_over
from deepseek_operator.jobs_here import Here, JobHere
from deepseek_operator.kept import NotThere
from deepseek_operator.launch import StartRefused
from deepseek_operator.place import Choice, Place, with_options
from deepseek_operator.state_folder import StateFolder, default_state_root
from deepseek_operator.view.log_lines import merged, shown, stamped
from deepseek_operator.view.sentence import Why, why
from deepseek_operator.view.snapshot import Snapshot
from deepseek_runtime.contract.names import COMMAND, Role

if TYPE_CHECKING:
    from deepseek_operator.jobs_in_cluster import InCluster

P = ParamSpec("P")
T = TypeVar("T")

WIDTH: Final = 10
"""Of a member's name in front of its lines."""


class JobFailed(Exception):
    """The job is not at a good end: it failed, was stopped, or its supervisor is gone. The message has all of it."""

    def __init__(
        self,
        message: str,
        reason: str,
        *,
        role: Role | None = None,
        index: int | None = None,
        exit_code: int | None = None,
        remedy: str = "",
    ) -> None:
        super().__init__(f"{message}; {remedy}" if remedy else message)
        self.reason = reason
        """CamelCase, one word."""
        self.role = role
        """Whose failure it was; None: nobody's in particular."""
        self.index = index
        self.exit_code = exit_code
        """The job's, or None while it has none. 64, 65, 66, 78: a mistake in what was given."""
        self.remedy = remedy


class NotStarted(Exception):
    """The job was not started. `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Result:
    """What a job that succeeded came to."""

    metrics: dict[str, float]
    """Of the last evaluation; empty when there was none."""
    loss: float | None
    """Mean of the newest pushes."""
    steps: int
    wire_bytes: int
    dense_bytes: int
    """What dense pushes and pulls of each step would have been."""
    status: JobStatus = field(repr=False)
    job: place.Job = field(repr=False)
    folder: Path = field(repr=False)
    """Where the model is kept once it was asked for."""

    @property
    def model(self) -> Path:
        """A plain safetensors file: model.load_state_dict(safetensors.torch.load_file(path)). Raises NotThere."""
        file = self.folder / "model.safetensors"
        return file if file.exists() else self.job.export(file).path

    @property
    def audit(self) -> Any:
        """How often each sample counted (deepseek_runtime.audit.Audit). Raises NotThere."""
        return self.job.audit()


def _leaves_it_running(call: Callable[P, T]) -> Callable[P, T]:
    """Ctrl-C ends the waiting, never the job, and says how to go on."""

    @functools.wraps(call)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except KeyboardInterrupt:
            job = args[0]
            assert isinstance(job, Job)
            job._say_how_to_go_on()
            raise

    return guarded


class Job:
    """A job, where it runs: any number of processes may hold one."""

    def __init__(self, held: place.Job, there: Place | None = None) -> None:
        self.held = held
        self._there = there or Here()

    @property
    def name(self) -> str:
        return self.held.name

    def status(self) -> JobStatus:
        """As it is now. Raises Unreadable; in a cluster NotThere when it was deleted, ApiError."""
        return self._look().status

    @property
    def phase(self) -> str:
        """One word: Running, Succeeded, Failed ...; Orphaned or Interrupted when nobody runs it any more."""
        return self._look().phase

    def events(self) -> tuple[JobEvent, ...]:
        """The newest 50, the oldest first."""
        return self.status().events

    def why(self) -> str:
        """In one sentence what keeps it from running, or how it ended, and what to do."""
        said = why(self._look())
        return f"{said.sentence}; {self._there.spelled(said.remedy)}" if said.remedy else said.sentence

    def logs(self, follow: bool = False, role: Role | None = None, index: int | None = None) -> Iterator[str]:
        """Lines of all members (of one role, of one member) in the order of their times, the member's name in front.

        follow: goes on until the job has ended, with members that are born later too.
        """
        choice = Choice(role, index, False)
        alive = follow and self.held.alive()
        logs = dict(self.held.logs(choice))
        for line in merged({source: one.more(end=not alive) for source, one in logs.items()}):
            yield shown(line, WIDTH)
        try:
            while alive:
                alive = not self.held.wait(self.held.tick)  # before the last look
                for source, log in self.held.logs(choice).items():
                    logs.setdefault(source, log)
                found = []
                for source, one in logs.items():
                    added = list(stamped(source, one.more(end=not alive), one.time))
                    one.time = added[-1].time if added else one.time
                    found += added
                for line in sorted(found, key=lambda line: line.time):
                    yield shown(line, WIDTH)
        except KeyboardInterrupt:
            self._say_how_to_go_on()
            raise

    @_leaves_it_running
    def wait(self, timeout: float | None = None) -> JobStatus:
        """Until no process of it is left, whichever way it ended; its last status.

        Raises TimeoutError after `timeout` seconds, with what the job is doing.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = self.held.tick if end is None else min(self.held.tick, end - time.monotonic())
            if self.held.wait(max(0.0, left)):
                return self.status()
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"after {timeout:g} s {self.why()}")

    @_leaves_it_running
    def result(self, timeout: float | None = None) -> Result:
        """Waits for the end. Raises JobFailed unless the job succeeded, TimeoutError."""
        self.wait(timeout)
        shot = self._look()
        status, progress = shot.status, shot.progress
        if status.phase != "Succeeded":
            raise _failed(shot, why(shot), self._there)
        return Result(
            metrics=dict(progress.metrics) if progress is not None else {},
            loss=progress.loss if progress is not None else None,
            steps=progress.step if progress is not None else 0,
            wire_bytes=progress.wire_bytes if progress is not None else 0,
            dense_bytes=progress.dense_bytes if progress is not None else 0,
            status=status,
            job=self.held,
            folder=_folder(self.held, status),
        )

    @_leaves_it_running
    def stop(self, drain: bool = True, timeout: float | None = None) -> JobStatus:
        """Ends it: workers push what they hold and a checkpoint is written, or (drain=False) all are killed.

        `run(..., resume=True)` goes on from there. Raises TimeoutError; Busy for drain=False in a cluster.
        """
        self.held.stop(kill=not drain)
        return self.wait(timeout)

    def scale(self, workers: int | None = None, servers: int | None = None) -> None:
        """Asks for other numbers of members (None: as they are). Raises ValueError outside the manifest's bounds."""
        self.held.scale(workers, servers)

    def _look(self) -> Snapshot:
        return self.held.look()

    def _say_how_to_go_on(self) -> None:
        with contextlib.suppress(Exception):  # an interrupted person is told what can be told
            if self.held.alive():
                words = "   ".join(f"{COMMAND} {word} {self.name}" for word in ("watch", "logs", "stop"))
                commands = self._there.spelled(words)
                print(f"{self.name} goes on. next: {commands}", file=sys.stderr)  # noqa: T201 -- a hint for people

    def __repr__(self) -> str:
        try:
            shot = self._look()
        except Exception as error:  # noqa: BLE001 -- a repr must not raise
            return f"<Job {self.name}: {error}>"
        loss = shot.progress.loss if shot.progress is not None else None
        at = f", step {shot.step}" + (f" of {shot.goal}" if shot.goal else "")
        return f"<Job {self.name}: {shot.phase}{at}" + (f", loss {loss:.4g}" if loss is not None else "") + ">"


def run(
    what: str | Path,
    *,
    name: str | None = None,
    servers: int | None = None,
    workers: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    args: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
    cluster: bool | str = False,
    namespace: str | None = None,
    resume: bool = False,
    replace: bool = False,
) -> Job:
    """Starts a job and returns when it has begun.

    what: a Python script that trains on a session (its folder goes with it), `module:Class` of an installed task, or a
    YAML manifest. name: by default the manifest's, or after the script. args: `--key value` of the script, keyword
    arguments of the task. spec: anything else of the manifest's `spec`, spelled as there. resume: go on with the job
    of this name; replace: end and delete it first. cluster: True, or a context of the kubeconfig; namespace: of the
    job there, by default the context's own.

    Raises ManifestError with all that is wrong, NotStarted; in a cluster NoCluster, ApiError.
    """
    if namespace is not None and not cluster:
        raise NotStarted(f"namespace={namespace!r} is of a cluster", "cluster=True says so")
    given: dict[str, Any] = {"steps": steps, "epochs": epochs, "batchSize": batch_size, "seed": seed}
    if args is not None:
        given["args"] = dict(args)
    whole: dict[str, Any] = {"training": {key: value for key, value in given.items() if value is not None}}
    for role, count in (("servers", servers), ("workers", workers)):
        if count is not None:
            whole[role] = {"replicas": count}
    if not whole["training"]:
        del whole["training"]
    whole = laid_over(whole, spec or {})
    manifest = compose(what, name=name, spec=whole, cluster=bool(cluster))
    for note in manifest.notes:
        print(f"note: {note}", file=sys.stderr)  # noqa: T201 -- a hint for people
    if cluster:
        return _submitted(manifest, cluster, namespace, resume=resume, replace=replace)
    try:
        return Job(JobHere(launch.start(manifest, resume=resume, replace=replace)))
    except KeyboardInterrupt:
        StateFolder(default_state_root() / manifest.job.name).sweep()  # what its supervisor had begun
        raise
    except StartRefused as error:
        raise _not_started(error) from error


def attach(name: str, *, cluster: bool | str = False, namespace: str | None = None) -> Job:
    """A job that was started by any process. Raises NotThere, with the names that there are."""
    there = _cluster(cluster, namespace) if cluster else Here()
    try:
        return Job(there.find(name), there)
    except NotThere as error:
        raise NotThere(f"{error}: {error.hint}", error.hint) from error


def _submitted(manifest: Manifest, cluster: bool | str, namespace: str | None, *, resume: bool, replace: bool) -> Job:
    from deepseek_operator.submit import submit

    there = _cluster(cluster, namespace)
    try:
        return Job(submit(there, manifest, resume=resume, replace=replace), there)
    except StartRefused as error:
        raise _not_started(error, there) from error


def _cluster(cluster: bool | str, namespace: str | None) -> "InCluster":
    from deepseek_operator.jobs_in_cluster import in_cluster

    context = cluster if isinstance(cluster, str) else ""
    options = [f"--context {context}"] if context else []
    options += [f"-n {namespace}"] if namespace else []

    def spelled(text: str) -> str:
        return with_options(text, COMMAND, options or ["--cluster"])

    return in_cluster(context, namespace or "", spelled=spelled)


def _not_started(error: StartRefused, there: Place | None = None) -> NotStarted:
    hint = error.hint.replace("--resume", "resume=True").replace("--replace", "replace=True")
    return NotStarted(str(error), hint if there is None else there.spelled(hint))


def _folder(held: place.Job, status: JobStatus) -> Path:
    """The job's own on this machine; of one in a cluster a folder of this machine's cache."""
    if isinstance(held, JobHere):
        return held.folder.path
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / COMMAND / f"{held.name}-{status.uid or 'job'}"


def _failed(shot: Snapshot, said: Why, there: Place) -> JobFailed:
    failure = shot.status.last_failure if shot.status.phase == "Failed" else None
    return JobFailed(
        said.sentence,
        said.reason,
        role=failure.role if failure is not None else None,
        index=failure.index if failure is not None else None,
        exit_code=shot.status.exit_code,
        remedy=there.spelled(said.remedy),
    )
