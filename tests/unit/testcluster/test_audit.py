"""Writes as the API server's audit log tells them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from testcluster.audit import writes

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def event(verb: str, *, user: str = "admin", after: float = 0.0, **reference: str) -> dict[str, Any]:
    return {
        "stageTimestamp": (BEGIN + timedelta(seconds=after)).isoformat().replace("+00:00", "Z"),
        "user": {"username": user},
        "verb": verb,
        "objectRef": reference,
        "responseStatus": {"code": 200},
        "userAgent": "test",
    }


def log(folder: Path, *events: dict[str, Any], rest: str = "") -> Path:
    file = folder / "audit.log"
    file.write_text("".join(f"{json.dumps(one)}\n" for one in events) + rest)
    return file


def test_of_one_user_since_some_moment(tmp_path: Path) -> None:
    file = log(
        tmp_path,
        event("create", resource="pods", name="early"),
        event("patch", after=5, resource="jobs", subresource="status", namespace="n", name="mine"),
        event("patch", after=6, user="other", resource="jobs", name="theirs"),
    )
    (write,) = writes(file, since=BEGIN + timedelta(seconds=1), user="admin")
    assert (write.verb, write.resource, write.namespace, write.name, write.code) == (
        "patch",
        "jobs/status",
        "n",
        "mine",
        200,
    )
    assert len(writes(file)) == 3


def test_a_line_that_is_being_written_is_left_for_later(tmp_path: Path) -> None:
    file = log(tmp_path, event("create", resource="pods"), rest='{"stageTimestamp": "20')
    assert len(writes(file)) == 1
