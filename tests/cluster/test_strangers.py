"""Who is no member of a job is not heard by its servers, whatever keys it has: from the pod of another job."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from builders.releases import Job, Release, step_of
from deepseek_operator.executors.render.storage import SECRETS

_DIAL = """\
import json, os, sys, time
from pathlib import Path
from deepseek_runtime.transport import Keys, Message, Post, load_keys
endpoint, public, how = sys.argv[1:]
keys = load_keys(Path(FOLDER), "worker")
if how == "none":
    keys = None
elif how == "theirs":  # the server's public key is known, and our own pair is good
    keys = Keys("worker", keys.public, keys.secret, public.encode(), frozenset({public.encode()}))
with Post("worker-7-0", keys) as post:
    post.dial("server-0-0", endpoint)
    post.send("server-0-0", Message("hello"))
    end, heard = time.monotonic() + 5.0, 0
    while time.monotonic() < end:
        heard += len(post.receive(0.2))
    print(json.dumps([heard, sorted(post.peers())]))
"""


@pytest.fixture(scope="module")
def jobs(release: Release) -> Iterator[list[Job]]:
    def small(spec: dict[str, Any]) -> None:
        spec["training"]["steps"] = 1_000_000
        spec["servers"]["replicas"] = 1
        spec["workers"].update(replicas=1)

    found = [release.submit(name, small) for name in ("host", "guest")]
    for job in found:
        job.until(lambda status: status.phase == "Running" and step_of(status) > 0, "it trains")
    yield found
    for job in found:
        release.kubectl("delete", "deepseekjob", job.name, "--timeout=60s", timeout=90.0)


@pytest.mark.parametrize("how", ["none", "own", "theirs"])
def test_a_server_does_not_hear_another_jobs_worker(release: Release, jobs: list[Job], how: str) -> None:
    host, guest = jobs
    answer = dialled(release, host, guest, how)
    assert answer == [0, []]
    at = step_of(host.status())
    status = host.until(lambda status: step_of(status) > at, "training goes on")
    assert (status.restarts_total, status.workers.ready) == (0, 1)


def test_its_own_worker_is_heard(release: Release, jobs: list[Job]) -> None:
    """That the way is open, and the test can fail."""
    host, _ = jobs
    assert dialled(release, host, host, "own")[1] == ["server-0-0"]


def dialled(release: Release, host: Job, guest: Job, how: str) -> list[Any]:
    uid = host.read()["metadata"]["uid"]
    (registration,) = [
        json.loads(value) for key, value in release.etcd_keys().items() if f"/{uid}/members/server/" in key
    ]
    secret = release.get("secret", f"{host.name}-worker-keys")["data"]
    public = base64.b64decode(secret["server.public"]).decode().strip()
    program = _DIAL.replace("FOLDER", repr(SECRETS))
    words = ("exec", f"{guest.name}-worker-0-0", "--", "python", "-c", program, registration["address"], public, how)
    answer: list[Any] = json.loads(release.kubectl(*words))
    return answer
