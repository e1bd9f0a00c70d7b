"""Where checkpoints may lie: folders, and what fsspec can write to. Judged by its URI; reached only when asked."""

import difflib
import importlib.util
import os
import queue
import re
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path

from deepseek_operator.api.problems import Problem, shown

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""Extras of our distribution by scheme."""
_REFUSED = {
    "memory": "lives in the memory of one process, and the others would not see it",
    "http": "can be read but not written",
    "https": "can be read but not written",
    "data": "is a value, not a place",
    "job": "names another job, for restoreFrom alone",
} | dict.fromkeys(
    (
        "async_wrapper", "asynclocal", "blockcache", "cached", "dir", "filecache", "generic", "git", "github",
        "jupyter", "libarchive", "reference", "simplecache", "tar", "zip",
    ),
    "is a view of something else, not a store",
)  # fmt: skip
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):")
_COMMON = ("file", *EXTRAS, "webdav", "sftp", "hdfs", "abfs")
"""Meant already where half of the letters agree; of the rest hardly anybody has heard."""
CHECK_SECONDS = 20.0
_REMOTE = "^[A-Za-z][A-Za-z0-9+.-]*://[^/]"
_NO_REMOTE = f"(?i)^({'|'.join(sorted(['file', 'local', *_REFUSED]))}):"
REACHED_BY_PODS = f'({{0}}.matches("{_REMOTE}") && !{{0}}.matches("{_NO_REMOTE}") && !{{0}}.contains("::"))'
"""`is_reached_by_pods` in CEL, of `{0}`."""


_JOB = "^job://[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
NAMES_A_JOB = '{0}.matches("' + _JOB.replace("{", "{{").replace("}", "}}") + '")'
"""`job_named` in CEL, of `{0}`."""
_RESTORE = "spec.checkpoint.restoreFrom"


def job_named(restore_from: str) -> str | None:
    """The name in job://NAME: the newest job of that name whose checkpoints are in the same storage."""
    return restore_from.removeprefix("job://") if re.fullmatch(_JOB, restore_from) else None


def absolute(uri: str, folder: Path) -> str:
    """A path becomes file:///...; relative ones are relative to `folder`; other URIs stay as they are."""
    scheme = _scheme(uri)
    if scheme in ("file", "local"):
        path = re.sub(r"^[a-z]+:(//)?", "", uri, flags=re.IGNORECASE)
    elif scheme is None:
        path = uri
    else:
        return uri
    return "file://" + os.path.normpath(folder.absolute() / Path(path).expanduser())


def local_path(uri: str) -> Path | None:
    """The folder behind an absolute file URI; None for every other store."""
    return Path(uri.removeprefix("file://")) if uri.startswith("file://") else None


def judge_uri(uri: str, field: str) -> Problem | None:
    """What is wrong with a URI, without reaching for it."""
    if re.search(r"[\x00-\x1f\x7f]", uri):
        return _bad(uri, field, "holds a control character", _examples())
    scheme = _scheme(uri)
    if scheme is None:
        return None
    if scheme in ("file", "local"):
        if re.match(r"^[a-z]+://[^/]", uri, re.IGNORECASE):
            return _bad(uri, field, "names a host between '//' and the path", "file:/// and the path, or the bare path")
        return None
    if scheme == "job" and field == _RESTORE:
        if job_named(uri) is not None:
            return None
        return _bad(uri, field, "names no job", "job://NAME, of a job whose checkpoints are in the same storage")
    if scheme in _REFUSED:
        return _bad(uri, field, f"{scheme} {_REFUSED[scheme]}", _examples())
    known = _known()
    if known is not None and scheme not in known:
        near = difflib.get_close_matches(scheme, _COMMON, 1, 0.5) or difflib.get_close_matches(scheme, known, 1, 0.6)
        meant = f"; did you mean {near[0]}?" if near else ""
        return _bad(uri, field, f"the scheme {scheme} is not known{meant}", _examples())
    if "::" in uri:
        return _bad(uri, field, "chains two stores", "a single store")
    if not re.match(r"^[^:]+://[^/]", uri):
        return _bad(uri, field, f"names nothing behind {scheme}:", f"{scheme}://bucket/folder")
    return _not_installed(uri, field, scheme)


def is_reached_by_pods(uri: str, restored: bool = False) -> bool:
    """Whether a URI can name a store that every pod of a job reaches; which schemes there are is the image's affair.

    restored: of restoreFrom, which may also be a path in a volume that they mount, or job://NAME.
    """
    if restored and (uri.startswith("file:///") or job_named(uri) is not None):
        return True
    return bool(re.match(_REMOTE, uri)) and not re.match(_NO_REMOTE, uri) and "::" not in uri


def check_store(uri: str, options: Mapping[str, object], field: str, seconds: float = CHECK_SECONDS) -> Problem | None:
    """Writes a small file into the store, reads it back and removes it. Waits at most `seconds`."""
    answers: queue.Queue[str] = queue.Queue(1)
    threading.Thread(target=_probe, args=(uri, dict(options), answers), daemon=True).start()
    try:
        failure = answers.get(timeout=seconds)
    except queue.Empty:
        failure = f"no answer within {seconds:g} s"
    if not failure:
        return None
    message = f"{shown(uri)} cannot be written: {failure}"
    return Problem("store", field, message, "a store that this machine may read and write", shown(uri))


def _probe(uri: str, options: dict[str, object], answers: "queue.Queue[str]") -> None:
    try:
        import fsspec

        store, root = fsspec.core.url_to_fs(uri, **options)
        fresh = not store.exists(root)
        store.makedirs(root, exist_ok=True)
        path, content = f"{root.rstrip('/')}/.dsj-check-{uuid.uuid4().hex}", b"dsj validate --check-store"
        store.pipe_file(path, content)
        same = store.cat_file(path) == content
        store.rm_file(path)
        if fresh and local_path(uri) is not None:
            store.rmdir(root)
    except Exception as error:  # noqa: BLE001 -- each store raises what it likes, and all of it means the same here
        lines = str(error).strip().splitlines()
        answers.put(f"{type(error).__name__}{': ' + lines[0] if lines else ''}")
    else:
        answers.put("" if same else "it gave back other bytes than were written")


def _scheme(uri: str) -> str | None:
    found = _SCHEME.match(uri)
    if found is None:
        return None
    scheme = found[1].lower()
    rest = uri[found.end() :]
    return scheme if rest.startswith("//") or ":" in rest or scheme in {"file", *EXTRAS, *_REFUSED} else None


def _known() -> list[str] | None:
    """Schemes that fsspec knows; None where fsspec is not installed (the operator's own image)."""
    if importlib.util.find_spec("fsspec") is None:
        return None
    import fsspec

    return [name for name in fsspec.available_protocols() if name not in _REFUSED]


def _not_installed(uri: str, field: str, scheme: str) -> Problem | None:
    if importlib.util.find_spec("fsspec") is None:
        return None
    from fsspec.registry import known_implementations

    module = known_implementations.get(scheme, {}).get("class", "fsspec").split(".")[0]
    if importlib.util.find_spec(module) is not None:
        return None
    what = f"'deepseek-operator[{EXTRAS[scheme]}]'" if scheme in EXTRAS else module
    return _bad(uri, field, f"{scheme} needs the package {module}, which is not installed", f"pip install {what}")


def _examples() -> str:
    return "a folder, or a URI such as file:///folder, s3://bucket/folder or gs://bucket/folder"


def _bad(uri: str, field: str, message: str, right: str) -> Problem:
    return Problem("scheme", field, f"{shown(uri)}: {message}", right, shown(uri))
