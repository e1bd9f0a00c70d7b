"""What is sent, and what an answer means. A server of our own says what it is told to."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes.client import Configuration

from deepseek_operator.kube import (
    JOBS,
    LEASES,
    PODS,
    Api,
    ApiError,
    Conflict,
    Exists,
    Forbidden,
    Invalid,
    NotFound,
    NotLeading,
    Rate,
    Unreachable,
)


class Server:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any, dict[str, str]]] = []
        self.answers: list[tuple[int, Any]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                outer.asked.append((self.command, self.path, body, dict(self.headers)))
                code, said = outer.answers.pop(0) if outer.answers else (200, {})
                data = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.handle_any)
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def configuration(self) -> Configuration:
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{self.http.server_address[1]}"
        configuration.proxy = None
        return configuration

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.close()


def api(server: Server, **options: Any) -> Api:
    return Api(server.configuration(), **options)


def status(reason: str, message: str) -> dict[str, str]:
    return {"kind": "Status", "reason": reason, "message": message}


@pytest.mark.parametrize(
    "code, reason, error",
    [
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", Exists),
        (409, "Conflict", Conflict),
        (401, "Unauthorized", Forbidden),
        (403, "Forbidden", Forbidden),
        (422, "Invalid", Invalid),
        (400, "BadRequest", Invalid),
        (429, "TooManyRequests", Unreachable),
        (410, "Expired", Unreachable),
        (500, "InternalError", Unreachable),
        (503, "ServiceUnavailable", Unreachable),
    ],
)
def test_what_an_answer_means(server: Server, code: int, reason: str, error: type[ApiError]) -> None:
    server.answers = [(code, status(reason, "why: because"))]
    with pytest.raises(ApiError, match="why: because") as caught:
        api(server).create(PODS, "ns", {"metadata": {"name": "a"}})
    assert type(caught.value) is error
    assert (str(caught.value), caught.value.strerror) == ("why: because", "why: because")


def test_field_that_an_older_definition_does_not_know_is_no_outage(server: Server) -> None:
    server.answers = [(500, status("", "failed to create typed patch: .status.x: field not declared in schema"))]
    with pytest.raises(Invalid):
        api(server).apply(JOBS, "ns", {"metadata": {"name": "a"}}, subresource="status")


@pytest.mark.parametrize("said", [b"<html>", b"[1]", b""])
def test_answer_that_is_no_object(server: Server, said: bytes) -> None:
    server.answers = [(200, said)]
    with pytest.raises(Unreachable):
        api(server).get(PODS, "ns", "a")


def test_get_of_what_is_not_there(server: Server) -> None:
    server.answers = [(404, status("NotFound", "no"))]
    assert api(server).get(PODS, "ns", "a") is None


def test_list_is_read_page_by_page(server: Server) -> None:
    server.answers = [
        (200, {"metadata": {"continue": "x/y"}, "items": [{"metadata": {"name": "a"}}]}),
        (200, {"metadata": {}, "items": [{"metadata": {"name": "b"}}]}),
    ]
    found = api(server).list(PODS, labels="deepseek.dev/job")
    assert [(item["kind"], item["metadata"]["name"]) for item in found] == [("Pod", "a"), ("Pod", "b")]
    assert server.asked[0][1] == "/api/v1/pods?limit=500&labelSelector=deepseek.dev%2Fjob"
    assert "continue=x%2Fy" in server.asked[1][1]


def test_delete_names_the_uid_and_says_whether_it_was_there(server: Server) -> None:
    server.answers = [(200, {}), (404, status("NotFound", "")), (409, status("Conflict", "uid"))]
    one = api(server)
    assert [one.delete(PODS, "ns", "a", uid="u1", grace=0) for _ in range(3)] == [True, False, False]
    method, path, body, _ = server.asked[0]
    assert (method, path) == ("DELETE", "/api/v1/namespaces/ns/pods/a")
    assert (body["preconditions"], body["gracePeriodSeconds"]) == ({"uid": "u1"}, 0)


def test_apply_and_replace(server: Server) -> None:
    one = api(server, who="pod-1")
    one.apply(JOBS, "ns", {"metadata": {"name": "a", "uid": "u"}})
    one.replace(LEASES, "ns", {"metadata": {"name": "l", "resourceVersion": "3"}})
    (method, path, body, headers), (_, other, lease, _) = server.asked
    assert (method, headers["Content-Type"]) == ("PATCH", "application/apply-patch+yaml")
    assert path.startswith("/apis/deepseek.dev/v1alpha1/namespaces/ns/deepseekjobs/a?fieldManager=deepseek-operator")
    assert (body["kind"], body["metadata"]["uid"]) == ("DeepseekJob", "u")
    assert headers["User-Agent"].endswith("(pod-1)")
    assert other.startswith("/apis/coordination.k8s.io/v1/namespaces/ns/leases/l?")
    assert lease["metadata"]["resourceVersion"] == "3"


def test_a_write_of_one_that_does_not_lead_is_not_sent_but_reads_are(server: Server) -> None:
    def fence() -> float:
        raise NotLeading("another leads")

    one = api(server, fence=fence)
    one.get(PODS, "ns", "a")
    for write in (
        lambda: one.create(PODS, "ns", {"metadata": {"name": "a"}}),
        lambda: one.apply(PODS, "ns", {"metadata": {"name": "a"}}),
        lambda: one.replace(PODS, "ns", {"metadata": {"name": "a"}}),
        lambda: one.merge(PODS, "ns", "a", {}),
        lambda: one.delete(PODS, "ns", "a", uid="u"),
    ):
        with pytest.raises(NotLeading):
            write()
    assert len(server.asked) == 1


def test_leadership_that_ends_while_a_write_waits_for_its_turn(server: Server) -> None:
    left = [5.0]

    def fence() -> float:
        if not left:
            raise NotLeading("no more")
        return left.pop()

    with pytest.raises(NotLeading):
        api(server, fence=fence).create(PODS, "ns", {"metadata": {"name": "a"}})
    assert server.asked == []


def test_silence_is_bounded_by_what_is_left_of_the_leadership() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(Unreachable):
            Api(configuration, fence=lambda: 0.2).create(PODS, "ns", {"metadata": {"name": "a"}})
        with pytest.raises(Unreachable):
            Api(configuration).within(0.2).get(PODS, "ns", "a")


def test_refused_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{port}"
    with pytest.raises(Unreachable, match="does not answer"):
        Api(configuration).list(PODS)


def test_too_many_of_our_own(server: Server) -> None:
    seen: list[tuple[str, str, str]] = []
    one = api(
        server, rate=Rate(0.01, 1), timeout=0.5,
        observe=lambda verb, resource, outcome, seconds: seen.append((verb, resource, outcome)),
    )  # fmt: skip
    one.get(PODS, "ns", "a")
    with pytest.raises(Unreachable, match="too many"):
        one.get(PODS, "ns", "a")
    assert seen == [("get", "pods", "ok"), ("get", "pods", "Unreachable")]
