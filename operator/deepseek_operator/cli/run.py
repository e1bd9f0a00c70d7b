"""`dsj run`: starts a job, here or in a cluster, and shows it until it ends; here it passes on Ctrl-C."""

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from pydantic import ValidationError

from deepseek_operator import launch
from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.load import Manifest, load_manifest, read_manifest
from deepseek_operator.cli.answer import hint, output_option, say, say_json, say_json_line, unicode_out
from deepseek_operator.cli.errors import INTERRUPTED, STOPPED, TERMINATED, Refused
from deepseek_operator.cli.following import code_of, follow
from deepseek_operator.cli.signals import Asks
from deepseek_operator.cli.viewers import viewer
from deepseek_operator.cli.where import place, where
from deepseek_operator.jobs_here import JobHere, find
from deepseek_operator.state_folder import StateFolder, default_state_root
from deepseek_operator.view.snapshot import Snapshot
from deepseek_operator.view.summary import next_steps, running_steps, summary, summary_json
from deepseek_runtime.contract.exit_codes import OK, USAGE

if TYPE_CHECKING:
    from deepseek_operator.jobs_in_cluster import JobInCluster

STDIN = "-"
KEYS = "Ctrl-C stops the job (drains it and writes a checkpoint)   q leaves this view, the job runs on"


@click.command()
@click.argument("job", metavar="JOB.yaml")
@click.option("--detach", is_flag=True, help="Start it and return at once.")
@click.option("--resume", is_flag=True, help="Go on with the job of this name; JOB may be its name then.")
@click.option("--replace", "anew", is_flag=True, help="End and delete the job of this name first.")
@click.option("--name", default=None, help="Another name than the manifest's.")
@click.option("--no-view", is_flag=True, help="Show nothing before the end.")
@output_option
def run(job: str, detach: bool, resume: bool, anew: bool, name: str | None, no_view: bool, output: str) -> int:
    """Start a job and show it until it ends.

    The job has a supervisor of its own; this command is only a view. Ctrl-C drains the job: workers push what they
    hold, a checkpoint is written, every process leaves. Ctrl-C again kills it. A closed terminal leaves it running.

    In a cluster the manifest is applied (its code goes along as a ConfigMap), and Ctrl-C leaves the view: the job runs
    on. --resume with a manifest applies it to the job that is there.

    \b
      dsj run job.yaml
      dsj run job.yaml --detach
      dsj run --resume digits
      dsj run job.yaml -n ml
      dsj run job.yaml -o json | jq .step

    Exit code: 0 succeeded; 64, 65, 66, 78 a mistake in what was given; 75 suspended; 130 Ctrl-C; 1 any other failure.
    """
    if resume and anew:
        raise click.UsageError("--resume goes on with a job, --replace deletes it: give one of them")
    if where() is not None:
        sent = _send(job, name, resume=resume, anew=anew, loud=output == "text")
        with Asks() as asks:
            return _sent(sent, output) if detach else _watch(sent, asks, output, not no_view)
    if resume and job != STDIN and not Path(job).exists() and "/" not in job and "." not in job:
        manifest, folder = None, find(job)
    else:
        manifest = _manifest(job, name)
        folder = StateFolder(default_state_root() / manifest.job.name)
        if resume and not folder.exists():
            find(manifest.job.name)
    with Asks() as asks:
        _start(folder, manifest, asks, resume=resume, anew=anew, loud=output == "text")
        if detach and not asks.count:
            return _started(folder, output)
        return _follow(folder, asks, output, not no_view)


def _manifest(job: str, name: str | None, *, cluster: bool = False) -> Manifest:
    """Raises ManifestError, Refused."""
    if job == STDIN:
        manifest = read_manifest(sys.stdin.buffer, cluster=cluster)
    else:
        manifest = load_manifest(job, cluster=cluster)
    for note in manifest.notes:
        click.echo(f"note: {note}", err=True)
    if name is None:
        return manifest
    data = manifest.job.model_dump(by_alias=True, exclude_unset=cluster)
    data["metadata"]["name"] = name
    try:
        return replace(manifest, job=DeepseekJob.model_validate(data))
    except ValidationError as error:
        right = "small letters, digits and '-', at most 45 of them, a letter or digit at both ends"
        raise Refused(f"{name!r} cannot be a job's name", f"right: {right}", USAGE) from error


def _send(job: str, name: str | None, *, resume: bool, anew: bool, loud: bool) -> "JobInCluster":
    """Applied to the cluster. Raises ManifestError, StartRefused, NotThere, ApiError."""
    from deepseek_operator import submit
    from deepseek_operator.jobs_in_cluster import InCluster

    there = cast(InCluster, place())
    if resume and job != STDIN and not Path(job).exists() and "." not in job:
        return submit.resume(there, job)
    sent = submit.submit(there, _manifest(job, name, cluster=True), resume=resume, replace=anew)
    if loud:
        click.echo(f"{sent.name}: applied in the namespace {sent.namespace}", err=True)
    return sent


def _sent(job: "JobInCluster", output: str) -> int:
    if output == "json":
        say_json({"job": job.name, "namespace": job.namespace, "folder": "", "supervisor": None})
    else:
        say([f"{job.name} is applied in the namespace {job.namespace}"])
        hint(running_steps(job.name))
    return OK


def _watch(job: "JobInCluster", asks: Asks, output: str, show: bool) -> int:
    """Nobody's job is stopped by a view that is left."""
    followed = follow(job, viewer(output, show), asks, lambda times: None, "Ctrl-C or q leaves this view")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = code_of(followed.last)
    if followed.left:
        code = OK if not asks.count else TERMINATED if asks.terminated else INTERRUPTED
    _end(followed.last, code, output, left=followed.left)
    return code


def _start(folder: StateFolder, manifest: Manifest | None, asks: Asks, *, resume: bool, anew: bool, loud: bool) -> None:
    if loud:
        click.echo(f"{folder.name}: starting etcd and the supervisor", err=True)
    asks.starting = True
    try:
        if manifest is None:
            launch.resume(folder.name)
        else:
            launch.start(manifest, resume=resume, replace=anew)
    except KeyboardInterrupt:
        # The launch has killed the supervisor that it had begun; what that one had begun goes too, whatever is pressed.
        asks.starting = False
        folder.wait(5.0)
        folder.sweep()
        raise
    finally:
        asks.starting = False


def _started(folder: StateFolder, output: str) -> int:
    if output == "json":
        process = folder.supervisor()
        pid = process.pid if process else None
        say_json({"job": folder.name, "namespace": "", "folder": str(folder.path), "supervisor": pid})
        if process is not None:
            process.close()
    else:
        say([f"{folder.name} is started in {folder.path}"])
        hint(running_steps(folder.name))  # its status may still be the one before
    return OK


def _follow(folder: StateFolder, asks: Asks, output: str, show: bool) -> int:
    known = () if folder.status().opened == 0 else folder.status().events

    def asked(times: int) -> str | None:
        if times == 1:
            folder.request_stop(drain=True)
            said = "stopping: workers push what they hold, a checkpoint is written; Ctrl-C again kills at once"
        else:
            folder.request_stop(drain=False)
            said = "killing all members; the newest checkpoint stays"
        if not show and output == "text":
            click.echo(said, err=True)
        return said

    followed = follow(JobHere(folder), viewer(output, show, known), asks, asked, KEYS)
    # From here on Ctrl-C ends this command as any other.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = _code(followed.last, asks, left=followed.left)
    _end(followed.last, code, output, left=followed.left)
    return code


def _code(shot: Snapshot, asks: Asks, *, left: bool) -> int:
    if left:
        return OK
    code = code_of(shot)
    if code == STOPPED and asks.count:
        return TERMINATED if asks.terminated else INTERRUPTED
    return code


def _end(shot: Snapshot, code: int, output: str, *, left: bool) -> None:
    if output == "json":
        say_json_line(summary_json(shot, code))
    elif left:
        say([f"{shot.name} runs on: step {shot.step}"])
        hint(next_steps(shot))
    else:
        say(summary(shot, code, unicode=unicode_out()))
        hint(next_steps(shot))
