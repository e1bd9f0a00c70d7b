"""Sending a job to a cluster: the manifest as it was written, its code as a ConfigMap, applied server-side.

job = submit(place, manifest)                    # refused if a job of this name is there
job = submit(place, manifest, resume=True)       # that one goes on, with this manifest
job = submit(place, manifest, replace=True)      # that one is deleted first
"""

import base64
import time
from dataclasses import dataclass
from typing import Any, Final

from deepseek_operator.api.load import Manifest
from deepseek_operator.api.problems import ManifestError, Problem
from deepseek_operator.api.user_code import UserCode
from deepseek_operator.executors.render.parts import Owner, metadata
from deepseek_operator.jobs_in_cluster import INSTALL, NO_DEFINITION, InCluster, JobInCluster, status_of
from deepseek_operator.kept import NotThere
from deepseek_operator.kube import CONFIG_MAPS, JOBS, PODS, Api, ApiError, Invalid, NotFound, Object
from deepseek_operator.launch import StartRefused
from deepseek_operator.pod_logs import member_pods
from deepseek_runtime.contract.exit_codes import CONFIG, CRASHED, OK, USAGE
from deepseek_runtime.contract.names import COMMAND, LABEL_JOB, LABEL_PART, Member

MAX_CODE: Final = 1_000_000
"""Bytes; Kubernetes lets a ConfigMap have 1 MiB."""
PART: Final = "given-code"
DELETED_WITHIN: Final = 60.0


@dataclass(frozen=True, slots=True)
class Objects:
    """What is applied, in this order; the job's own code comes with it, and is owned by it."""

    others: tuple[Object, ...]
    """ConfigMaps that stand in the same file."""
    code: Object | None
    job: Object


def submit(place: InCluster, manifest: Manifest, *, resume: bool = False, replace: bool = False) -> JobInCluster:
    """Returns when the API server has it. Raises ManifestError, StartRefused, NotThere, ApiError."""
    name, api = manifest.job.name, place.api
    namespace = namespace_of(place, manifest)
    made = objects(manifest, namespace)
    held = _held(api, namespace, name)
    if held is not None and replace:
        _delete(api, namespace, held)
    elif held is not None and not resume:
        raise _taken(held)
    elif held is not None:
        _may_go_on(held)
    elif resume:
        raise NotThere(f"there is no job {name} in the namespace {namespace}", f"{COMMAND} jobs")
    try:
        for other in made.others:
            api.apply(CONFIG_MAPS, namespace, other)
        if made.code is not None:
            api.apply(CONFIG_MAPS, namespace, made.code)
        item = _applied(api, namespace, made, new=held is None or replace)
    except NotFound as error:
        if f'namespaces "{namespace}"' in str(error):
            hint = f"`kubectl create namespace {namespace}` makes it"
            raise StartRefused(f"there is no namespace {namespace}", hint, CONFIG) from error
        raise NotThere(NO_DEFINITION, INSTALL) from error
    except Invalid as error:
        raise StartRefused(f"the API server refuses the manifest: {error}", code=CONFIG) from error
    job = JobInCluster(api, item)
    if resume and (item.get("spec") or {}).get("suspend") and not manifest.job.spec.suspend:
        job.resume()
    if made.code is not None:
        _own(api, job, made.code)
    return job


def resume(place: InCluster, name: str) -> JobInCluster:
    """A suspended job goes on as it was last given. Raises NotThere, StartRefused, ApiError."""
    job = place.find(name)
    _may_go_on(job.item())
    job.resume()
    return job


def namespace_of(place: InCluster, manifest: Manifest) -> str:
    """As kubectl has it. Raises StartRefused when two are named."""
    about = manifest.job.metadata
    named = about.namespace if "namespace" in about.model_fields_set else ""
    if named and place.named and named != place.namespace:
        hint = f"-n {named}, or no namespace in the manifest"
        raise StartRefused(f"the manifest names the namespace {named}, the command {place.namespace}", hint)
    return named or place.namespace or "default"


def objects(manifest: Manifest, namespace: str) -> Objects:
    """Raises ManifestError when the code cannot be a ConfigMap."""
    job = manifest.job
    whole = job.model_dump(mode="json", by_alias=True, exclude_unset=True)
    about: dict[str, Any] = dict(whole["metadata"]) | {"namespace": namespace}
    spec = whole["spec"]
    others = tuple(
        {**config_map, "metadata": {**config_map["metadata"], "namespace": namespace}}
        for config_map in manifest.config_maps
    )
    given = job.spec.training.code
    code = None
    if manifest.code is not None and (given is None or given.config_map is None):
        code = code_map(job.name, namespace, manifest.code, manifest.file)
        spec["training"]["code"] = {"configMap": code["metadata"]["name"]}
    return Objects(others, code, {"metadata": about, "spec": spec})


def code_map(job: str, namespace: str, code: UserCode, file: str) -> Object:
    """A folder's files; named by what is in it, so that other code is a change of the job. Raises ManifestError."""
    nested = sorted(name for name in code.files if "/" in name)
    field, right = (
        "spec.training.code",
        "code that lies flat in its folder, or an image with the code in it (spec.image)",
    )
    if nested:
        message = f"a ConfigMap has no folders, and {nested[0]} lies in one" + (
            f" (so do {len(nested) - 1} more)" if len(nested) > 1 else ""
        )
        raise ManifestError([Problem("combination", field, message, right, file=file)])
    size = sum(len(content) for content in code.files.values())
    if size > MAX_CODE:
        largest = max(code.files, key=lambda name: len(code.files[name]))
        message = (
            f"the folder holds {size / 1e6:.1f} MB, most of it {largest}: a ConfigMap takes {MAX_CODE / 1e6:.0f} MB"
        )
        raise ManifestError(
            [
                Problem(
                    "range",
                    field,
                    message,
                    "a folder with nothing but code in it, or an image with it (spec.image)",
                    file=file,
                )
            ]
        )
    data: dict[str, str] = {}
    binary: dict[str, str] = {}
    for name, content in sorted(code.files.items()):
        try:
            data[name] = content.decode()
        except UnicodeDecodeError:
            binary[name] = base64.b64encode(content).decode()
    labels = {"app.kubernetes.io/managed-by": COMMAND, LABEL_JOB: job, LABEL_PART: PART}
    about = {"name": f"{job}-{PART}-{code.digest[:10]}", "namespace": namespace, "labels": labels}
    return {"metadata": about} | ({"data": data} if data else {}) | ({"binaryData": binary} if binary else {})


def _applied(api: Api, namespace: str, made: Objects, *, new: bool) -> Object:
    """The job. Code of one that is refused is left behind by nobody."""
    try:
        return api.apply(JOBS, namespace, made.job)
    except ApiError:
        given = (
            api.get(CONFIG_MAPS, namespace, made.code["metadata"]["name"]) if made.code is not None and new else None
        )
        if given is not None:
            api.delete(CONFIG_MAPS, namespace, given["metadata"]["name"], uid=given["metadata"]["uid"])
        raise


def _held(api: Api, namespace: str, name: str) -> Object | None:
    return api.get(JOBS, namespace, name)


def _taken(held: Object) -> StartRefused:
    name, status = held["metadata"]["name"], status_of(held)
    phase = status.phase
    if status.finished:
        return StartRefused(f"a job {name} is there already ({phase})", "--replace deletes it and starts anew")
    ways = f"--resume goes on with this manifest, --replace deletes it, `{COMMAND} watch {name}` shows it"
    return StartRefused(f"a job {name} is there already ({phase})", ways)


def _may_go_on(held: Object) -> None:
    status = status_of(held)
    if status.finished:
        name = held["metadata"]["name"]
        how = "has finished" if status.exit_code == OK else "has failed, and a job in a cluster ends once"
        hint = f"--replace deletes it and starts anew; with restoreFrom: job://{name} from its newest checkpoint"
        raise StartRefused(f"the job {name} {how}", hint, USAGE)


def _delete(api: Api, namespace: str, held: Object) -> None:
    """With its pods: those of the next have the same names."""
    about = held["metadata"]
    api.delete(JOBS, namespace, about["name"], uid=about["uid"])
    end = time.monotonic() + DELETED_WITHIN
    while (left := _left(api, namespace, about["name"], about["uid"])) and time.monotonic() < end:
        time.sleep(0.5)
    if left:
        raise StartRefused(f"{left} is not gone after {DELETED_WITHIN:g} s", "try again later", CRASHED)


def _left(api: Api, namespace: str, name: str, uid: str) -> str:
    held = api.get(JOBS, namespace, name)
    if held is not None and held["metadata"]["uid"] == uid:
        return f"the job {name}"
    pods: dict[Member, str] = member_pods(api.list(PODS, namespace, f"{LABEL_JOB}={name}"), uid)
    return f"the pod {min(pods.values())}" if pods else ""


def _own(api: Api, job: JobInCluster, code: Object) -> None:
    """It goes with its job; what older code of the job there was goes now (the operator keeps its own copy)."""
    owner = Owner(job.name, job.namespace, job.uid)
    about = code["metadata"]
    owned = metadata(owner, about["name"], about["labels"])
    api.apply(CONFIG_MAPS, job.namespace, {**code, "metadata": owned})
    labels = f"{LABEL_JOB}={job.name},{LABEL_PART}={PART}"
    for held in api.list(CONFIG_MAPS, job.namespace, labels):
        if held["metadata"]["name"] != about["name"]:
            api.delete(CONFIG_MAPS, job.namespace, held["metadata"]["name"], uid=held["metadata"]["uid"])
