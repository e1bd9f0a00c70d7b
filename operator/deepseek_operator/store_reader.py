"""What a job in a cluster stored, read from outside: by a pod of a few minutes beside it (deepseek_runtime.reading).

Only from inside the cluster, with the job's own credentials, can every storage be reached: the chart's own store, a
claim, an object store in a private network. The pod has the image and the Secrets of the job's members; what it reads
comes here through a port-forward. It is deleted at the end, ends by itself when nobody asks any more, and is owned by
the job.
"""

import http.client
import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.load import read_job
from deepseek_operator.api.status import Recovery
from deepseek_operator.api.stored_status import StatusUnreadable, read_status
from deepseek_operator.curves import Curves, curves_from
from deepseek_operator.executors.render.config import FILE
from deepseek_operator.executors.render.folders import CONFIG, TMP
from deepseek_operator.executors.render.parts import Owner, metadata
from deepseek_operator.executors.render.settings import USER
from deepseek_operator.executors.render.storage import CHECKPOINTS, SECRETS, STORE_SECRET
from deepseek_operator.kept import NotThere
from deepseek_operator.kube import CONFIG_MAPS, PODS, Api, Object, Unreachable
from deepseek_operator.place import Exported, Saved, Unreadable
from deepseek_runtime.contract.names import (
    ANNOTATION_IMAGE,
    ANNOTATION_PULL_SECRETS,
    COMMAND,
    CONTAINER,
    ENV_CONFIG,
    ENV_SECRETS,
    LABEL_PART,
)

PORT: Final = 7078
BEGINS: Final = 120.0
"""Seconds for the pod to be there: its image may have to be pulled."""
LIVES: Final = 3600
"""Seconds after which the cluster ends it in any case."""
TICK: Final = 0.5
PIECE: Final = 1 << 20
VARIABLE: Final = "DSJ_IMAGE"


class StoreReader:
    """All methods raise NotThere, Unreadable, ApiError. Each starts a pod and deletes it."""

    def __init__(self, api: Api, item: Object) -> None:
        about = item["metadata"]
        self._api = api
        self._owner = Owner(about["name"], about["namespace"], about["uid"])
        self._job = read_job(item)
        try:
            self._generation = read_status(item).generation
        except StatusUnreadable as error:
            raise Unreadable(f"{error}; another version wrote it") from error

    def checkpoints(self) -> tuple[str, list[Saved]]:
        with self._reading() as pod, self._asked(pod, "/checkpoints") as answer:
            said = json.loads(answer.read())
        return str(said["uri"]), [Saved(**one) for one in said["checkpoints"]]

    def curves(self, recoveries: Sequence[Recovery]) -> Curves:
        with self._reading() as pod, self._asked(pod, "/metrics") as answer:
            found = answer.read()
        return curves_from(self._owner.name, found, recoveries)

    def export(self, file: Path, step: int | None) -> Exported:
        """Whole or not at all."""
        query = "" if step is None else "?" + urlencode({"step": step})
        with self._reading() as pod, self._asked(pod, f"/model{query}") as answer:
            said = json.loads(answer.getheader("X-Result") or "{}")
            target = Path(os.path.abspath(file.expanduser()))
            _take(answer, target)
        passed = tuple((int(at), int(term), str(why)) for at, term, why in said["passedOver"])
        return Exported(target, said["step"], said["term"], said["tensors"], said["size"], passed)

    @contextmanager
    def _reading(self) -> Iterator[str]:
        """The name of a pod that reads."""
        namespace = self._owner.namespace
        made = self._api.create(PODS, namespace, self._pod())
        name, uid = made["metadata"]["name"], made["metadata"]["uid"]
        try:
            self._await(name)
            yield name
        finally:
            self._api.delete(PODS, namespace, name, uid=uid, grace=0)

    def _pod(self) -> Object:
        if not self._generation:
            raise NotThere(f"{self._owner.name} has stored nothing yet: it has not begun", f"{COMMAND} why NAME")
        name = self._owner.part(f"config-{self._generation}")
        config = self._api.get(CONFIG_MAPS, self._owner.namespace, name)
        if config is None:
            raise NotThere(f"the ConfigMap {name} of {self._owner.name} is gone", "it says where checkpoints are")
        noted = config["metadata"].get("annotations") or {}
        image = os.environ.get(VARIABLE) or self._job.spec.image or noted.get(ANNOTATION_IMAGE)
        if not image:
            raise NotThere(
                f"the image of {self._owner.name} is not known", f"{VARIABLE}=IMAGE names one that has the runtime"
            )
        pull = [one for one in str(noted.get(ANNOTATION_PULL_SECRETS, "")).split(",") if one]
        return reading_pod(self._job, self._owner, config=name, image=image, pull_secrets=pull)

    def _await(self, name: str) -> None:
        """Until it runs. Raises NotThere when it will not."""
        end = time.monotonic() + BEGINS
        waits = "it has not started"
        while time.monotonic() < end:
            pod = self._api.get(PODS, self._owner.namespace, name)
            if pod is None:
                raise NotThere(f"the pod {name}, which reads the store, was deleted by somebody")
            phase = (pod.get("status") or {}).get("phase")
            if phase == "Running":
                return
            if phase in ("Failed", "Succeeded"):
                raise NotThere(f"the pod {name}, which reads the store, ended at once: {self._said(name)}")
            waits = waiting(pod) or waits
            time.sleep(TICK)  # a watch would ask for one more right
        raise NotThere(f"the pod {name}, which reads the store, is not there after {BEGINS:g} s: {waits}")

    @contextmanager
    def _asked(self, pod: str, path: str) -> Iterator[http.client.HTTPResponse]:
        end = time.monotonic() + 30.0
        while True:
            connection = _Forwarded(self._api, self._owner.namespace, pod)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                break
            except (http.client.HTTPException, OSError) as error:
                # It does not listen yet, as long as Python starts.
                connection.close()
                if time.monotonic() > end:
                    raise Unreadable(f"the pod {pod}, which reads the store, does not answer: {error}") from error
                self._await(pod)
                time.sleep(TICK)
        try:
            if answer.status == http.client.CONFLICT:
                raise NotThere(str(json.loads(answer.read())["message"]))
            if answer.status != http.client.OK:
                raise Unreadable(f"the pod {pod}, which reads the store, answered {answer.status} {answer.reason}")
            yield answer
        finally:
            connection.close()

    def _said(self, pod: str) -> str:
        """Its last words."""
        try:
            lines = self._api.log(self._owner.namespace, pod, CONTAINER, tail=3).strip().splitlines()
        except OSError:
            lines = []
        if any("No module named deepseek_runtime.reading" in line for line in lines):
            return f"the runtime in its image is too old for this; {VARIABLE}=IMAGE names a newer one"
        return lines[-1] if lines else "it said nothing"


class _Forwarded(http.client.HTTPConnection):
    """HTTP over a port-forward."""

    def __init__(self, api: Api, namespace: str, pod: str) -> None:
        super().__init__(pod)
        self._api, self._namespace, self._pod = api.within(60.0), namespace, pod

    def connect(self) -> None:
        self.sock = self._api.forward(self._namespace, self._pod, PORT)


def _take(answer: http.client.HTTPResponse, target: Path) -> None:
    """Raises NotThere when it cannot be written, Unreadable when it did not come whole."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("xb") as file:
            while piece := answer.read(PIECE):
                file.write(piece)
            whole = answer.length == 0
        if not whole:
            raise Unreadable(f"{target.name} broke off on its way; try again")
        os.replace(draft, target)
    except http.client.HTTPException as error:
        raise Unreadable(f"{target.name} broke off on its way ({error!r}); try again") from error
    except OSError as error:
        if isinstance(error, Unreachable | TimeoutError | ConnectionError):
            raise Unreadable(f"{target.name} broke off on its way: {error}") from error
        raise NotThere(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            draft.unlink()


def reading_pod(job: DeepseekJob, owner: Owner, *, config: str, image: str, pull_secrets: Sequence[str] = ()) -> Object:
    """config: name of the ConfigMap with the config document. As restricted as a member's pod, and no member."""
    storage = job.spec.checkpoint.storage
    options = {"secret": {"name": owner.part(STORE_SECRET), "optional": True}}
    volumes: list[Object] = [
        {"name": "config", "configMap": {"name": config}},
        {"name": "secrets", "projected": {"defaultMode": 0o440, "sources": [options]}},
        {"name": "tmp", "emptyDir": {}},
    ]
    mounts: list[Object] = [
        {"name": "config", "mountPath": CONFIG, "readOnly": True},
        {"name": "secrets", "mountPath": SECRETS, "readOnly": True},
        {"name": "tmp", "mountPath": TMP},
    ]
    if storage.pvc is not None:
        volumes.append({"name": "checkpoints", "persistentVolumeClaim": {"claimName": storage.pvc.claim_name}})
        sub_path = {"subPath": storage.pvc.sub_path} if storage.pvc.sub_path else {}
        mounts.append({"name": "checkpoints", "mountPath": CHECKPOINTS, **sub_path})
    environment = {ENV_CONFIG: f"{CONFIG}/{FILE}", ENV_SECRETS: SECRETS, "HOME": TMP, "PYTHONUNBUFFERED": "1"}
    container: Object = {
        "name": CONTAINER,
        "image": image,
        "command": ["python", "-m", "deepseek_runtime.reading", "--port", str(PORT)],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": mounts,
    }
    if storage.secret:
        container["envFrom"] = [{"secretRef": {"name": storage.secret}}]
    labels = {"app.kubernetes.io/managed-by": COMMAND, LABEL_PART: "reader"}
    about = metadata(owner, owner.part(f"reader-{secrets.token_hex(3)}"), labels)
    spec: Object = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": LIVES,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": volumes,
        "containers": [container],
    }
    # Where servers may be, their volume can be mounted.
    pod = job.spec.servers.pod
    if pod.node_selector:
        spec["nodeSelector"] = dict(pod.node_selector)
    if pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in pull_secrets]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec}


def waiting(pod: Object) -> str:
    """Why it does not start, as its own status says; empty: it does not say."""
    status = pod.get("status") or {}
    for one in status.get("containerStatuses") or []:
        state: dict[str, Any] = (one.get("state") or {}).get("waiting") or {}
        if state.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{state['reason']}: {state.get('message', '')}".rstrip(": ")
    for condition in status.get("conditions") or []:
        if (
            condition.get("status") == "False"
            and condition.get("message")
            and condition.get("reason") == "Unschedulable"
        ):
            return f"Unschedulable: {condition['message']}"
    return ""
