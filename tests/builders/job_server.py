"""An API server in memory as people ask one: of one namespace, with jobs, their Events and the logs of pods."""

import copy
import socket
from typing import Any

from builders import snapshots
from builders.api_server import ApiServer
from deepseek_operator.api.load import dump_job
from deepseek_operator.api.status import JobStatus
from deepseek_operator.api.stored_status import stored
from deepseek_operator.kube import JOBS, PODS, ApiError, Conflict, NotFound, Object, Resource
from deepseek_runtime.contract.names import LABEL_INCARNATION, LABEL_INDEX, LABEL_JOB, LABEL_ROLE, Member

NAMESPACE = "ml"
CREATED = "2023-11-14T22:12:48Z"


class JobServer(ApiServer):
    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[str, str] = {}
        """By pod; each line begins with its stamp."""
        self.down: ApiError | None = None
        """What every call raises."""
        self.port = 0
        """Of this machine: where a port-forward leads."""

    def job(self, status: JobStatus | None = None, **spec: Any) -> Object:
        """The job `digits`, as it stands there."""
        import yaml

        item: Object = yaml.safe_load(dump_job(snapshots.digits_job()))
        item["metadata"] |= {"namespace": NAMESPACE, "uid": "u-digits", "creationTimestamp": CREATED, "generation": 1}
        item["spec"] |= spec
        item["status"] = {} if status is None else stored(status)
        self.put(item, JOBS)
        for event in () if status is None else status.events:
            self.events.append(
                {
                    "metadata": {"name": f"digits.{len(self.events)}", "resourceVersion": str(len(self.events))},
                    "involvedObject": {"uid": "u-digits"},
                    **event.model_dump(exclude={"time"}),
                    "lastTimestamp": event.time,
                }
            )
        return item

    def pod(self, member: Member, log: str, owner: str = "u-digits") -> None:
        name = f"digits-{member}"
        labels = {
            LABEL_JOB: "digits", LABEL_ROLE: member.role, LABEL_INDEX: str(member.index),
            LABEL_INCARNATION: str(member.incarnation),
        }  # fmt: skip
        about = {"name": name, "uid": f"u-{name}", "labels": labels, "ownerReferences": [{"uid": owner}]}
        self.put({"metadata": about, "status": {"phase": "Running"}}, PODS)
        self.logs[name] = log

    def spec(self, name: str = "digits") -> Object:
        found: Object = self.objects[JOBS.plural, name]["spec"]
        return found

    def merge(self, resource: Resource, namespace: str | None, name: str, patch: Object) -> Object:
        self._ask("patch", resource)
        held = self.objects.get((resource.plural, name))
        if held is None:
            raise NotFound("not found")
        if patch.get("metadata", {}).get("uid", held["metadata"]["uid"]) != held["metadata"]["uid"]:
            raise Conflict("another uid")
        self.writes.append(f"patch {resource.plural} {name}")
        _merge(held["spec"], patch["spec"])
        return copy.deepcopy(held)

    def log(
        self, namespace: str, pod: str, container: str = "", *, tail: int | None = None, previous: bool = False,
        since: str = "", stamps: bool = False,
    ) -> str:  # fmt: skip
        self._ask("log", PODS)
        if pod not in self.logs:
            raise NotFound("no such pod")
        lines = [line for line in self.logs[pod].splitlines() if line[:19] >= since[:19]]
        return "".join(f"{line}\n" for line in (lines if tail is None else lines[-tail:]))

    def within(self, seconds: float) -> "JobServer":
        return self

    def forward(self, namespace: str, pod: str, port: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10.0)

    def _write(self, verb: str, resource: Resource, manifest: Object) -> Object:
        super()._write(verb, resource, manifest)
        held = self.objects[resource.plural, manifest["metadata"]["name"]]
        held["metadata"].setdefault("namespace", NAMESPACE)
        if resource is PODS:
            held["status"] = {"phase": "Running"}
        return copy.deepcopy(held)

    def _ask(self, verb: str, resource: Resource) -> None:
        if self.down is not None:
            raise self.down
        super()._ask(verb, resource)


def _merge(held: Object, patch: Object) -> None:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(held.get(key), dict):
            _merge(held[key], value)
        else:
            held[key] = value
