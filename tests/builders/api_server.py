"""An API server in memory, as far as executors ask one: uids, preconditions, finalisation of pods by their kubelet.

Its objects are what a watch would bring; `writes` has every write in words. `refuse` names the next errors by verb and
plural: server.refuse["create pods"] = [Forbidden("exceeded quota")].
"""

import copy
from collections import defaultdict
from typing import cast

from deepseek_operator.kube import (
    CONFIG_MAPS,
    PODS,
    Api,
    ApiError,
    Conflict,
    Exists,
    NotFound,
    Object,
    Resource,
)


class ApiServer:
    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        """By plural and name; of one namespace."""
        self.writes: list[str] = []
        self.reads: list[str] = []
        self.refuse: dict[str, list[ApiError]] = defaultdict(list)
        self.events: list[Object] = []
        self._made = 0

    @property
    def api(self) -> Api:
        return cast(Api, self)

    def names(self, resource: Resource) -> list[str]:
        return sorted(name for plural, name in self.objects if plural == resource.plural)

    def of(self, resource: Resource) -> list[Object]:
        return [self.objects[resource.plural, name] for name in self.names(resource)]

    def put(self, item: Object, resource: Resource = PODS) -> None:
        """As if a kubelet or somebody else had written it."""
        self.objects[resource.plural, item["metadata"]["name"]] = item

    # what an executor calls

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        self._ask("get", resource)
        self.reads.append(f"get {resource.plural} {name}")
        return copy.deepcopy(self.objects.get((resource.plural, name)))

    def list(
        self, resource: Resource, namespace: str | None = None, labels: str = "", *, fields: str = ""
    ) -> list[Object]:
        self._ask("list", resource)
        self.reads.append(f"list {resource.plural}")
        if resource.plural == "events":
            return [e for e in self.events if f"involvedObject.uid={e['involvedObject']['uid']}" == fields]
        wanted = dict(one.split("=") for one in labels.split(",") if one)
        return [
            copy.deepcopy(item)
            for item in self.of(resource)
            if wanted.items() <= (item["metadata"].get("labels") or {}).items()
        ]

    def create(self, resource: Resource, namespace: str | None, manifest: Object) -> Object:
        name = manifest["metadata"]["name"]
        self._ask("create", resource)
        if (resource.plural, name) in self.objects:
            raise Exists(f'{resource.plural} "{name}" already exists')
        return self._write("create", resource, manifest)

    def apply(
        self, resource: Resource, namespace: str | None, manifest: Object, *, subresource: str = "", force: bool = True
    ) -> Object:
        self._ask("apply", resource)
        about = manifest["metadata"]
        held = self.objects.get((resource.plural, about["name"]))
        if "uid" in about and (held is None or held["metadata"]["uid"] != about["uid"]):
            raise NotFound("not found") if held is None else Conflict("another uid")
        if held is None:
            return self._write("apply", resource, manifest)
        self.writes.append(f"apply {resource.plural} {about['name']}")
        held = copy.deepcopy(held)
        held["metadata"].setdefault("labels", {}).update(about.get("labels") or {})
        held |= {key: value for key, value in manifest.items() if key != "metadata"}
        self.objects[resource.plural, about["name"]] = held
        return copy.deepcopy(held)

    def delete(
        self, resource: Resource, namespace: str | None, name: str, *, uid: str, grace: int | None = None
    ) -> bool:
        self._ask("delete", resource)
        held = self.objects.get((resource.plural, name))
        if held is None or held["metadata"]["uid"] != uid:
            return False
        self.writes.append(f"delete {resource.plural} {name}" + ("" if grace is None else f" grace {grace}"))
        if resource.plural == "pods" and grace != 0:
            held = copy.deepcopy(held)
            held["metadata"]["deletionTimestamp"] = "2026-11-24T10:06:00Z"
            self.objects[resource.plural, name] = held
        else:
            del self.objects[resource.plural, name]
        return True

    def _write(self, verb: str, resource: Resource, manifest: Object) -> Object:
        name = manifest["metadata"]["name"]
        self.writes.append(f"{verb} {resource.plural} {name}")
        made = copy.deepcopy(manifest)
        self._made += 1
        made["metadata"] |= {"uid": f"u{self._made}", "creationTimestamp": "2026-11-24T10:00:00Z"}
        self.objects[resource.plural, name] = made
        return copy.deepcopy(made)

    def _ask(self, verb: str, resource: Resource) -> None:
        waiting = self.refuse[f"{verb} {resource.plural}"]
        if waiting:
            raise waiting.pop(0)


def config_map(name: str, **files: str) -> Object:
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": "ml",
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-11-24T09:00:00Z",
        },
        "data": {key.replace("_py", ".py"): text for key, text in files.items()},
    }
