"""An API server in memory that keeps resourceVersions: for what writes with them (the Lease, a status, Events)."""

import copy
from typing import Any, cast

from deepseek_operator.kube import Api, ApiError, Conflict, Exists, NotFound, Object, Resource


class Versioned:
    """fail: raised by the next calls, one each; lands: whether a write that fails was done all the same."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.writes: list[str] = []
        self.fail: list[ApiError] = []
        self.lands = False
        self._version = 100

    @property
    def api(self) -> Api:
        return cast(Api, self)

    def within(self, seconds: float) -> "Versioned":
        return self

    def put(self, resource: Resource, item: Object) -> Object:
        """As if somebody else had written it."""
        return self._keep(resource, item)

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        self._maybe_fail()
        return copy.deepcopy(self.objects.get((resource.plural, name)))

    def create(self, resource: Resource, namespace: str | None, manifest: Object) -> Object:
        name = manifest["metadata"]["name"]
        if (resource.plural, name) in self.objects:
            raise Exists(f"{name} already exists")
        return self._write("create", resource, manifest)

    def replace(self, resource: Resource, namespace: str | None, manifest: Object, *, subresource: str = "") -> Object:
        about = manifest["metadata"]
        held = self.objects.get((resource.plural, about["name"]))
        if held is None:
            raise NotFound(about["name"])
        if about.get("resourceVersion") != held["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified")
        whole = held | {subresource: manifest[subresource]} if subresource else held | manifest
        return self._write("replace", resource, whole)

    def merge(self, resource: Resource, namespace: str | None, name: str, patch: Object) -> Object:
        held = self.objects.get((resource.plural, name))
        if held is None:
            raise NotFound(name)
        return self._write("merge", resource, held | patch)

    def _write(self, verb: str, resource: Resource, item: Object) -> Object:
        if not self.lands:
            self._maybe_fail()
        self.writes.append(f"{verb} {resource.plural} {item['metadata']['name']}")
        kept = self._keep(resource, item)
        if self.lands:
            self._maybe_fail()
        return kept

    def _keep(self, resource: Resource, item: Object) -> Object:
        self._version += 1
        kept: dict[str, Any] = copy.deepcopy(item)
        kept["metadata"] |= {"resourceVersion": str(self._version)}
        kept["metadata"].setdefault("uid", f"u{self._version}")
        self.objects[resource.plural, kept["metadata"]["name"]] = kept
        return copy.deepcopy(kept)

    def _maybe_fail(self) -> None:
        if self.fail:
            raise self.fail.pop(0)
