"""`dsj validate`: everything that is wrong with manifests, before anything starts."""

import json
import sys
from typing import Any

import click

from deepseek_operator.api.load import Manifest, load_manifest, read_manifest
from deepseek_operator.api.problems import ManifestError, Problem, exit_code_of
from deepseek_operator.api.storage import check_store
from deepseek_operator.cli.where import spelled, where
from deepseek_runtime.contract.names import COMMAND

STDIN = "-"


@click.command(short_help="Tell everything that is wrong with manifests.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Form of the answer.")
@click.option("--check-store", is_flag=True, help="Also write, read and remove a small file where checkpoints go.")
def validate(files: tuple[str, ...], output: str, check_store: bool) -> None:
    """Tell everything that is wrong with manifests: field, value, what would be right, and the line.

    `-` reads standard input. With -n, --context or --cluster: as a cluster takes it (none is asked). Exit code: 0 all
    are right; 66 a file, folder or store is not there; 78 a manifest is wrong.
    """
    results = [_judge(file, check_store) for file in files]
    problems = [problem for result in results for problem in result["problems"]]
    if output == "json":
        valid = not problems
        plain = [result | {"problems": [problem.to_json() for problem in result["problems"]]} for result in results]
        click.echo(json.dumps({"valid": valid, "files": plain}, indent=2, ensure_ascii=False))
    else:
        for result in results:
            _print(result)
    sys.exit(exit_code_of(problems))


def _judge(file: str, reach_store: bool) -> dict[str, Any]:
    """file, job (None when it cannot be read), notes and problems of one manifest."""
    try:
        cluster = where() is not None
        if file == STDIN:
            manifest = read_manifest(sys.stdin.buffer, cluster=cluster)
        else:
            manifest = load_manifest(file, cluster=cluster)
    except ManifestError as error:
        return {"file": file, "job": None, "notes": [], "problems": list(error.problems)}
    problem = _reach(manifest) if reach_store else None
    return {
        "file": file,
        "job": manifest.job.name,
        "notes": list(manifest.notes),
        "problems": [problem] if problem is not None else [],
        "summary": _summary(manifest),
    }


def _reach(manifest: Manifest) -> Problem | None:
    storage = manifest.job.spec.checkpoint.storage
    if storage.uri is None:
        return None
    problem = check_store(storage.uri, storage.options, "spec.checkpoint.storage.uri")
    return problem.at(manifest.file, 0, 0) if problem is not None else None


def _summary(manifest: Manifest) -> str:
    spec = manifest.job.spec
    training = spec.training
    length = f"{training.steps} steps" if training.steps is not None else f"{training.epochs} epochs"
    return (
        f"{_counted(spec.servers.replicas, 'server')}, {_counted(spec.workers.replicas, 'worker')}, "
        f"{training.task or training.script}, {length} of {training.batch_size} samples"
    )


def _print(result: dict[str, Any]) -> None:
    for problem in result["problems"]:
        click.echo(str(problem))
    if result["problems"]:
        click.echo(f"{result['file']}: {_counted(len(result['problems']), 'problem')}; nothing was started")
        return
    click.echo(f"{result['file']}: {result['job']} is right: {result['summary']}")
    for note in result["notes"]:
        click.echo(f"  {note}")
    if result["file"] != STDIN:
        click.echo(spelled(f"next: {COMMAND} run {result['file']}"))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
