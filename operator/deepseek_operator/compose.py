"""A manifest from a few words of Python: a script, a task or a YAML file, and what is to be otherwise in it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from deepseek_operator.api.documents import read_documents
from deepseek_operator.api.job import MAX_JOB_NAME
from deepseek_operator.api.load import Manifest, load_manifest, parse_manifest
from deepseek_runtime.contract.names import API_VERSION, KIND

_TASK: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_YAML: Final = (".yaml", ".yml")


def compose(
    what: str | Path, *, name: str | None = None, spec: Mapping[str, Any] | None = None, cluster: bool = False
) -> Manifest:
    """what: a Python script, whose folder goes with it; `module:Class` of an installed task; or a YAML manifest.

    spec: laid over the manifest's, spelled as in YAML; of `steps` and `epochs` the one given here counts. A script or
    task without either makes one pass over the data. Raises ManifestError.
    """
    path = Path(what).expanduser()
    if path.suffix in _YAML:
        return _overlaid(path, name, spec or {}, cluster) if name or spec else load_manifest(path, cluster=cluster)
    text = str(what)
    if _TASK.fullmatch(text) and not path.exists():
        return _made(name or job_name(text.rpartition(":")[2]), {"task": text}, spec or {}, text, Path.cwd(), cluster)
    return _made(name or job_name(path.stem), {"script": path.name}, spec or {}, text, path.absolute().parent, cluster)


def job_name(text: str) -> str:
    """A job's name that is near to a file's or a class's: small letters, digits and '-'."""
    spelled = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", text).lower()
    return re.sub(r"[^a-z0-9]+", "-", spelled).strip("-")[:MAX_JOB_NAME].strip("-") or "job"


def _made(
    name: str, training: dict[str, Any], spec: Mapping[str, Any], file: str, folder: Path, cluster: bool
) -> Manifest:
    whole = laid_over({"training": training}, spec)
    if not {"steps", "epochs"} & whole["training"].keys():
        whole["training"]["epochs"] = 1
    document = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": whole}
    # No file that a person wrote has these lines, so messages name the field alone.
    return parse_manifest(yaml.safe_dump(document, sort_keys=False), f"run({file!r})", folder, cluster=cluster)


def _overlaid(path: Path, name: str | None, spec: Mapping[str, Any], cluster: bool) -> Manifest:
    given = load_manifest(path, cluster=cluster)
    found, _ = read_documents(given.text, str(path))
    documents = []
    for document in found:
        value = document.value
        if isinstance(value, dict) and value.get("kind") == KIND:
            value = {**value, "spec": laid_over(value.get("spec") or {}, spec)}
            if name is not None:
                value["metadata"] = {**(value.get("metadata") or {}), "name": name}
        documents.append(value)
    text = yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True)
    return parse_manifest(text, f"{path} with what run() was given", path.absolute().parent, cluster=cluster)


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, mappings key by key; of `steps` and `epochs` only the one of `above` stays."""
    result = dict(below)
    if {"steps", "epochs"} & above.keys():
        result.pop("steps", None)
        result.pop("epochs", None)
    for key, value in above.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = laid_over(old, value) if both and isinstance(old, Mapping) else value
    return result
