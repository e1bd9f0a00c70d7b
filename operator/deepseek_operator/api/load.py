"""From a file to a job: all documents read, all problems told at once, paths made absolute.

manifest = load_manifest("job.yaml")       # strict: for people; cluster=True: as it is sent to a cluster
job = read_job(stored)                     # tolerant: for what a state folder stored
job = read_stored_job(stored)              # tolerant: for what a cluster stored
"""

import difflib
import errno
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from pydantic import ValidationError

from deepseek_operator.api import documents, storage, strict
from deepseek_operator.api.documents import Document, read_documents
from deepseek_operator.api.job import DeepseekJob, ignored_on_one_machine, not_used_by_a_script
from deepseek_operator.api.problems import ManifestError, Problem, is_text, shown, spell
from deepseek_operator.api.reserved import unusable_arguments
from deepseek_operator.api.user_code import CodeTooLarge, UserCode, read_folder
from deepseek_runtime.contract.names import API_VERSION, GROUP, KIND

_CODE = ("spec", "training", "code")
_CODE_FIELDS = ("spec.training.code", "spec.training.script", "spec.training.task")
_URI = ("spec", "checkpoint", "storage", "uri")
_RESTORE = ("spec", "checkpoint", "restoreFrom")
_MAX_CONFIG_MAP = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Manifest:
    """A file that was read and found right."""

    job: DeepseekJob
    """With local paths absolute: it means the same wherever it is kept. For a cluster: as it was given."""
    code: UserCode | None
    """What stands in the code's folder; None: the task is installed."""
    file: str
    text: str
    """The file as it was."""
    notes: tuple[str, ...] = ()
    """What is right but not used, one line each."""
    config_maps: tuple[dict[str, Any], ...] = ()
    """Those of the same file, as they stand there."""


def load_manifest(file: str | Path, *, cluster: bool = False) -> Manifest:
    """Reads a manifest for this machine, or for a cluster. Raises ManifestError with everything that is wrong."""
    path = Path(file)
    return parse_manifest(_read(path), str(file), path.absolute().parent, cluster=cluster)


def read_manifest(stream: BinaryIO, file: str = "<stdin>", *, cluster: bool = False) -> Manifest:
    """The same from a stream; relative paths are relative to the working folder. Raises ManifestError, OSError."""
    return parse_manifest(read_text(stream, file), file, Path.cwd(), cluster=cluster)


def parse_manifest(text: str, file: str, folder: Path, *, cluster: bool = False) -> Manifest:
    """The same from text; `file` is how messages call it, relative paths are relative to `folder`."""
    found, problems = read_documents(text, file)
    document, config_maps, others = _sorted(found, file, problems)
    if document is None:
        raise ManifestError(problems)
    job, wrong = strict.check(document, cluster=cluster)
    unread = {problem.field for problem in problems if problem.kind != "duplicate"}
    problems += [problem for problem in wrong if problem.field not in unread]
    code = None
    if job is not None:
        if not any(problem.field.startswith(_CODE_FIELDS) for problem in problems):
            code, wrong = _code(job, document, config_maps, folder, cluster)
            problems += wrong
        problems += [] if cluster else _stores(job, document, folder)
    if problems or job is None:
        raise ManifestError(problems)
    unread_here = "not sent, `kubectl apply -f` does it" if cluster else "on one machine this is ignored"
    notes = [f"{unread_here}: {other}" for other in others]
    ignored = () if cluster else ignored_on_one_machine(job)
    if ignored:
        notes.append(f"on one machine these are ignored: {', '.join(ignored)}")
    unused = not_used_by_a_script(job)
    if unused:
        notes.append(f"the script's own optimizer steps, so these are not used: {', '.join(unused)}")
    given = tuple(document.value for document in config_maps.values() if isinstance(document.value, dict))
    return Manifest(job if cluster else _absolute(job, folder), code, file, text, tuple(notes), given)


def read_job(data: Mapping[str, object]) -> DeepseekJob:
    """The tolerant face: unknown fields and nulls are passed over, rules between fields are not asked.

    Raises ManifestError when a known field cannot be read all the same.
    """
    try:
        return DeepseekJob.model_validate(_without_nulls(dict(data)))
    except ValidationError as error:
        problems = [
            Problem("type", spell(details["loc"]), f"{shown(details['input'])}: {details['msg']}")
            for details in error.errors(include_url=False)
        ]
        raise ManifestError(problems) from error


def read_stored_job(data: Mapping[str, object]) -> DeepseekJob:
    """`read_job` of what an API server let through; asks only what its schema could not see. Raises ManifestError."""
    job = read_job(data)
    problems = [problem for _, problem in unusable_arguments(job)]
    if problems:
        raise ManifestError(problems)
    return job


def read_job_text(text: str, file: str = "") -> DeepseekJob:
    """`read_job` of what `dump_job` wrote."""
    found, problems = read_documents(text, file)
    if problems or len(found) != 1 or not isinstance(found[0].value, dict):
        raise ManifestError(problems or [Problem("document", "", "is not one DeepseekJob", file=file)])
    return read_job(found[0].value)


def dump_job(job: DeepseekJob) -> str:
    """YAML that reads back as the same job; defaults are left out."""
    data = {"apiVersion": API_VERSION, "kind": KIND} | job.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _read(path: Path) -> str:
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        # Not blocking: a named pipe that nobody writes to is an empty file, not one to be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(descriptor, True)
        with open(descriptor, "rb") as file:
            return read_text(file, str(path))
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise ManifestError([Problem("missing", "", message, _nearby(path), file=str(path))]) from error


def read_text(stream: BinaryIO, file: str) -> str:
    """The text of a manifest; of a stream without end no more than one can hold. Raises ManifestError, OSError."""
    content = stream.read(documents.MAX_BYTES + 1)
    if len(content) > documents.MAX_BYTES:
        message = f"is larger than {documents.MAX_BYTES // 2**20} MiB"
        raise ManifestError([Problem("yaml", "", message, "a manifest; data belongs elsewhere", file=file)])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        message = f"is not UTF-8 text (byte {content[error.start]:#04x})"
        raise ManifestError([Problem("yaml", "", message, "text in UTF-8", file=file, line=line)]) from error


def _nearby(path: Path) -> str:
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, 1, 0.6)
    return f"a manifest; did you mean {path.with_name(near[0])}?" if near and near[0] != path.name else "a YAML file"


def _sorted(
    found: list[Document], file: str, problems: list[Problem]
) -> tuple[Document | None, dict[str, Document], list[str]]:
    """The job, the ConfigMaps by name, and what else there is."""
    jobs: list[Document] = []
    config_maps: dict[str, Document] = {}
    others: list[str] = []
    for document in found:
        value = document.value
        kind = value.get("kind") if isinstance(value, dict) else None
        if kind == "ConfigMap" and isinstance(value, dict):
            name = _name(value)
            if name in config_maps:
                problems.append(_at(document, (), "duplicate", f"the ConfigMap {name} is given twice", "one of them"))
            config_maps[name] = document
        elif _is_job(value) or len(found) == 1:
            jobs.append(document)
        else:
            others.append(f"{kind or 'a document without kind'} in line {document.place(()).line}")
    if len(jobs) > 1:
        names = ", ".join(_name(document.value) for document in jobs)
        problem = Problem("document", "", f"the file holds {len(jobs)} DeepseekJobs: {names}", "one job a file")
        problems.append(jobs[1].locate((), problem))
        return None, config_maps, []
    if not jobs:
        what = ", ".join([*others, *(f"the ConfigMap {name}" for name in config_maps)]) or "nothing"
        problems.append(Problem("document", "", f"holds no DeepseekJob but {what}", f"kind: {KIND}", file=file, line=1))
        return None, config_maps, []
    return jobs[0], config_maps, others


def _is_job(value: object) -> bool:
    """Whether a document was meant to be a job, its kind misspelt or forgotten."""
    if not isinstance(value, dict):
        return False
    spec = value.get("spec")
    return (
        str(value.get("apiVersion", "")).startswith(GROUP)
        or str(value.get("kind", "")).lower() == KIND.lower()
        or (isinstance(spec, dict) and "training" in spec)
    )


def _name(value: object) -> str:
    metadata = value.get("metadata") if isinstance(value, dict) else None
    return str(metadata.get("name", "(no name)")) if isinstance(metadata, dict) else "(no name)"


def _code(
    job: DeepseekJob, document: Document, config_maps: dict[str, Document], folder: Path, cluster: bool
) -> tuple[UserCode | None, list[Problem]]:
    training = job.spec.training
    if training.code is not None and training.code.config_map is not None:
        name = training.code.config_map
        if name not in config_maps and cluster:
            return None, []  # it may be there already
        if name not in config_maps:
            near = difflib.get_close_matches(name, config_maps, 1, 0.6)
            message = f"{shown(name)} is no ConfigMap of this file{f'; did you mean {near[0]}?' if near else ''}"
            right = "on one machine, a ConfigMap document of that name in the same file, or code.folder"
            return None, [_at(document, (*_CODE, "configMap"), "missing", message, right, name)]
        code, problems = _config_map(config_maps[name])
    elif training.code is not None and training.code.folder is not None:
        code, problems = _folder(document, (*_CODE, "folder"), training.code.folder, folder)
    elif training.script is not None:
        code, problems = _folder(document, ("spec", "training", "script"), ".", folder)
    else:
        return None, []
    if code is not None and training.script is not None and training.script not in code.files:
        near = difflib.get_close_matches(training.script, code.files, 1, 0.5)
        message = f"{shown(training.script)} does not exist{f'; did you mean {near[0]}?' if near else ''}"
        right = "a Python file in the code's folder, named relative to it"
        problems.append(_at(document, ("spec", "training", "script"), "missing", message, right, training.script))
    return code, problems


def _folder(
    document: Document, path: tuple[str, ...], name: str, folder: Path
) -> tuple[UserCode | None, list[Problem]]:
    place = folder / Path(name).expanduser()
    if not place.is_dir():
        message = f"{shown(name)} {'is a file, not a folder' if place.exists() else 'does not exist'}"
        return None, [_at(document, path, "missing", message, "a folder, relative to the manifest", name)]
    if not is_text(str(place.absolute())):
        message = f"the folder {place.absolute()} has a name that is no UTF-8"
        return None, [_at(document, path, "type", message, "a folder whose path is UTF-8", name)]
    try:
        return read_folder(place), []
    except CodeTooLarge as error:
        message = f"the folder {shown(str(place))} {error}"
        return None, [_at(document, path, "range", message, "code: {folder: ...} with nothing but code in it", name)]
    except OSError as error:
        message = f"{shown(error.filename or name)} cannot be read: {error.strerror}"
        return None, [_at(document, path, "missing", message, "files that you may read", name)]


def _config_map(document: Document) -> tuple[UserCode | None, list[Problem]]:
    """The data of a ConfigMap as files. Kubernetes allows no path in a key; neither do we."""
    value: dict[str, Any] = document.value if isinstance(document.value, dict) else {}
    problems: list[Problem] = []
    if "binaryData" in value:
        problems.append(_at(document, ("binaryData",), "unknown", "is not read", "data, with text"))
    data = value.get("data")
    if not isinstance(data, dict) or not data:
        return None, [*problems, _at(document, ("data",), "required", "has no files", "data: {train.py: ...}")]
    for key, content in data.items():
        if not re.fullmatch(r"[-._A-Za-z0-9]+", key) or key.startswith(".."):
            problems.append(_at(document, ("data", key), "type", f"{shown(key)} is no file's name", "as train.py"))
        if not isinstance(content, str):
            problems.append(_at(document, ("data", key), "type", f"{shown(content)} is not text", "put it in quotes"))
    if not problems and sum(len(content.encode()) for content in data.values()) > _MAX_CONFIG_MAP:
        problems.append(_at(document, ("data",), "range", "is larger than 1 MiB", "less, or code.folder"))
    return (None if problems else UserCode({key: content.encode() for key, content in data.items()})), problems


def _stores(job: DeepseekJob, document: Document, folder: Path) -> list[Problem]:
    problems: list[Problem] = []
    for path, uri in ((_URI, job.spec.checkpoint.storage.uri), (_RESTORE, job.spec.checkpoint.restore_from)):
        if uri is None:
            continue
        problem = storage.judge_uri(uri, spell(path))
        if problem is not None:
            problems.append(document.locate(path, problem))
            continue
        local = storage.local_path(storage.absolute(uri, folder))
        if path == _RESTORE and local is not None and not local.exists():
            right = "a folder of checkpoints, or an index.json in it"
            problems.append(_at(document, path, "missing", f"{shown(uri)} does not exist", right, uri))
        if path == _URI and local is not None and local.exists() and not local.is_dir():
            problems.append(_at(document, path, "missing", f"{shown(uri)} is a file", "a folder", uri))
    return problems


def _absolute(job: DeepseekJob, folder: Path) -> DeepseekJob:
    """The job with every local path absolute, so that it can be kept elsewhere."""
    data = job.model_dump(by_alias=True)
    storage_, checkpoint = data["spec"]["checkpoint"]["storage"], data["spec"]["checkpoint"]
    if storage_["uri"] is not None:
        storage_["uri"] = storage.absolute(storage_["uri"], folder)
    if checkpoint["restoreFrom"] is not None:
        checkpoint["restoreFrom"] = storage.absolute(checkpoint["restoreFrom"], folder)
    code = data["spec"]["training"]["code"]
    if code is not None and code["folder"] is not None:
        code["folder"] = str((folder / Path(code["folder"]).expanduser()).absolute())
    return DeepseekJob.model_validate(data)


def _at(document: Document, path: tuple[str, ...], kind: Any, message: str, right: str, value: str = "") -> Problem:
    given = json.dumps(value) if value else None
    return document.locate(path, Problem(kind, spell(path), message, right, given))


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: item if key in ("args", "options") else _without_nulls(item)
            for key, item in value.items()
            if item is not None
        }
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
