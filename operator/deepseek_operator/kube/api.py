"""The API server, as dicts: bounded calls, preconditions on every write, one vocabulary of errors (errors.py).

The transport and the credentials are the `kubernetes` client's; its generated models are not used: an object passes
through as it is, with the fields of newer versions in it. Used from several threads.
"""

import copy
import json
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import urllib3
from kubernetes.client import Configuration
from kubernetes.client.rest import RESTClientObject

from deepseek_operator.kube.errors import (
    DEPOSED,
    ApiError,
    Conflict,
    Exists,
    Forbidden,
    Invalid,
    NotFound,
    NotLeading,
    Unreachable,
)
from deepseek_operator.kube.rate import Rate
from deepseek_operator.kube.resources import PODS, Resource
from deepseek_runtime.contract.version import VERSION

__all__ = [
    "FIELD_MANAGER",
    "TIMEOUT",
    "Api",
    "ApiError",
    "Conflict",
    "Exists",
    "Fence",
    "Forbidden",
    "Invalid",
    "NotFound",
    "NotLeading",
    "Object",
    "Resource",
    "Unreachable",
    "unfenced",
]

Object = dict[str, Any]
"""A Kubernetes object, or a list of them, as JSON has it."""
Fence = Callable[[], float]
"""Seconds for which a write may still be sent. Raises NotLeading when there are none."""

FIELD_MANAGER = "deepseek-operator"
TIMEOUT = 10.0
"""Seconds that a call may take, waiting for its turn included."""
PAGE = 500
"""Objects asked for at once in a list."""


def unfenced() -> float:
    """For those who do not share their work: the command line, tests."""
    return TIMEOUT


class Observer(Protocol):
    def __call__(self, verb: str, resource: str, outcome: str, seconds: float) -> None: ...


class Api:
    """All methods raise ApiError.

    `rate` bounds the calls; `observe` is told of each, with its outcome; `who` is named to the API server, for its
    audit log; `manager` owns the fields that are applied.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        fence: Fence = unfenced,
        rate: Rate | None = None,
        observe: Observer | None = None,
        timeout: float = TIMEOUT,
        who: str = "",
        manager: str = FIELD_MANAGER,
    ) -> None:
        configuration.connection_pool_maxsize = max(configuration.connection_pool_maxsize or 0, 16)
        self._configuration = configuration
        self._pool = RESTClientObject(configuration).pool_manager
        self._fence = fence
        self._rate = rate
        self._observe = observe
        self._timeout = timeout
        self._manager = manager
        self._agent = f"{manager}/{VERSION}" + (f" ({who})" if who else "")

    def close(self) -> None:
        self._pool.clear()

    def within(self, seconds: float) -> "Api":
        """The same, its calls bounded by `seconds`."""
        bounded = copy.copy(self)
        bounded._timeout = max(0.05, seconds)
        return bounded

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        try:
            return self._call("get", resource, "GET", resource.path(namespace, name))
        except NotFound:
            return None

    def list(
        self, resource: Resource, namespace: str | None = None, labels: str = "", *, fields: str = ""
    ) -> list[Object]:
        """All of them, page by page; `labels` and `fields` are selectors. Items have their apiVersion and kind."""
        items: list[Object] = []
        query = {"limit": str(PAGE)} | ({"labelSelector": labels} if labels else {})
        query |= {"fieldSelector": fields} if fields else {}
        while True:
            page = self._call("list", resource, "GET", resource.path(namespace), query)
            items += [
                {"apiVersion": resource.api_version, "kind": resource.kind} | item for item in page.get("items") or []
            ]
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return items
            query["continue"] = token

    def create(self, resource: Resource, namespace: str | None, manifest: Object) -> Object:
        """Raises Exists."""
        query = {"fieldManager": self._manager}
        return self._write("create", resource, "POST", resource.path(namespace), query, manifest)

    def apply(
        self, resource: Resource, namespace: str | None, manifest: Object, *, subresource: str = "", force: bool = True
    ) -> Object:
        """Server-side apply: fields that we applied before and that are not in `manifest` are removed.

        `metadata.uid` and `metadata.resourceVersion`, where given, are preconditions (Conflict). Without a uid an
        object that is not there is created.
        """
        path = resource.path(namespace, manifest["metadata"]["name"], subresource)
        query = {"fieldManager": self._manager, "force": "true" if force else "false"}
        whole = {"apiVersion": resource.api_version, "kind": resource.kind} | manifest
        return self._write("apply", resource, "PATCH", path, query, whole, "application/apply-patch+yaml")

    def merge(self, resource: Resource, namespace: str | None, name: str, patch: Object) -> Object:
        """A merge patch: null removes a field. The command line's way to change a job."""
        path = resource.path(namespace, name)
        query = {"fieldManager": self._manager}
        return self._write("patch", resource, "PATCH", path, query, patch, "application/merge-patch+json")

    def replace(self, resource: Resource, namespace: str | None, manifest: Object, *, subresource: str = "") -> Object:
        """PUT; with `metadata.resourceVersion` only if nobody wrote it since (Conflict). Of fields that the server does
        not know it takes none."""
        path = resource.path(namespace, manifest["metadata"]["name"], subresource)
        whole = {"apiVersion": resource.api_version, "kind": resource.kind} | manifest
        return self._write("replace", resource, "PUT", path, {"fieldManager": self._manager}, whole)

    def delete(
        self, resource: Resource, namespace: str | None, name: str, *, uid: str, grace: int | None = None
    ) -> bool:
        """Deletes the object with this uid and none that took its name. False: it was gone already."""
        options: Object = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            self._write("delete", resource, "DELETE", resource.path(namespace, name), {}, options)
        except (NotFound, Conflict):
            return False
        return True

    def log(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        *,
        tail: int | None = None,
        previous: bool = False,
        since: str = "",
        stamps: bool = False,
    ) -> str:
        """What a container has written so far; `tail`: its last lines only; `since`: not before this second (RFC 3339);
        `stamps`: each line begins with when the kubelet got it, and a space."""
        query = {"container": container} if container else {}
        query |= {"timestamps": "true"} if stamps else {}
        query |= {"sinceTime": since} if since else {}
        if tail is not None:
            query["tailLines"] = str(tail)
        if previous:
            query["previous"] = "true"
        return self._send("log", PODS, "GET", PODS.path(namespace, pod, "log"), query, None, self._timeout).decode(
            "utf-8", "replace"
        )

    def forward(self, namespace: str, pod: str, port: int) -> socket.socket:
        """A connection to a port of a pod's loopback."""
        from deepseek_operator.kube.forward import connect

        return connect(self._configuration, namespace, pod, port, self._timeout)

    def version(self) -> Object:
        """The API server's, as /version tells it."""
        return _parsed(self._send("get", None, "GET", "/version", {}, None, self._timeout), "/version")

    def _call(
        self, verb: str, resource: Resource, method: str, path: str, query: Mapping[str, str] | None = None
    ) -> Object:
        return _parsed(self._send(verb, resource, method, path, query or {}, None, self._timeout), path)

    def _write(
        self,
        verb: str,
        resource: Resource,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object,
        kind: str = "application/json",
    ) -> Object:
        left = min(self._timeout, self._fence())
        return _parsed(self._send(verb, resource, method, path, query, (body, kind), left, fenced=True), path)

    def _send(
        self,
        verb: str,
        resource: Resource | None,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: tuple[Object, str] | None,
        timeout: float,
        fenced: bool = False,
    ) -> bytes:
        began = time.monotonic()
        outcome = "ok"
        try:
            if self._rate is not None and not self._rate.wait(timeout):
                raise Unreachable("too many requests of our own are waiting")
            left = timeout - (time.monotonic() - began)
            if fenced:
                left = min(left, self._fence())  # leadership may have ended while we waited for our turn
            return self._request(method, path, query, body, max(0.05, left))
        except ApiError as error:
            outcome = type(error).__name__
            raise
        finally:
            if self._observe is not None:
                self._observe(verb, resource.plural if resource else "", outcome, time.monotonic() - began)

    def _request(
        self, method: str, path: str, query: Mapping[str, str], body: tuple[Object, str] | None, timeout: float
    ) -> bytes:
        headers = {"Accept": "application/json", "User-Agent": self._agent}
        token = self._configuration.auth_settings().get("BearerToken")
        if token and token["value"]:
            headers["Authorization"] = str(token["value"])
        data = None
        if body is not None:
            content, headers["Content-Type"] = body
            data = json.dumps(content, separators=(",", ":")).encode()
        url = self._configuration.host.rstrip("/") + quote(path) + ("?" + urlencode(query) if query else "")
        try:
            answer = self._pool.request(
                method,
                url,
                body=data,
                headers=headers,
                timeout=urllib3.Timeout(total=timeout),
                retries=False,  # a write that is sent twice is decided by whoever plans
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"the API server at {self._configuration.host} does not answer: {error}") from error
        if answer.status >= 400:
            raise _error(answer.status, answer.data)
        return answer.data


def _parsed(data: bytes, path: str) -> Object:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise Unreachable(f"{path}: the answer is no JSON") from error
    if not isinstance(value, dict):
        raise Unreachable(f"{path}: the answer is no object")
    return value


def _error(status: int, data: bytes) -> ApiError:
    try:
        said = json.loads(data)
    except ValueError:
        said = {}
    if not isinstance(said, dict):
        said = {}
    message = str(said.get("message") or data[:300].decode("utf-8", "replace") or f"HTTP {status}").strip()
    if status == 404:
        return NotFound(message)
    if status == 409:
        return (Exists if said.get("reason") == "AlreadyExists" else Conflict)(message)
    if status == 403 and DEPOSED in message:
        return NotLeading(message)
    if status in (401, 403):
        return Forbidden(message)
    if status == 500 and "not declared in schema" in message:  # of a server-side apply
        return Invalid(message)
    if status in (429, 410) or status >= 500:
        return Unreachable(message)
    return Invalid(message)
