"""What was written to the API server and by whom, from its audit log."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Write:
    """A create, update, patch or delete that the API server answered."""

    at: datetime
    user: str
    verb: str
    resource: str
    """As in `pods`, `deepseekjobs/status`."""
    namespace: str
    name: str
    code: int
    """HTTP: 200 and 201 when it was done, 403 forbidden, 409 conflict."""
    client: str
    """The user agent, which tells kubectl from helm and both from a program of ours."""
    sent: object
    """The content, of those whose content is kept (see the policy in control_plane)."""


def writes(log: Path, *, since: datetime | None = None, user: str | None = None) -> list[Write]:
    """All writes at or after `since` (aware; default: the first), of `user` (default: everybody), oldest first."""
    return [
        write for write in _read(log) if (since is None or write.at >= since) and (user is None or write.user == user)
    ]


def _read(log: Path) -> Iterator[Write]:
    with log.open() as file:
        for line in file:
            if not line.endswith("\n"):
                return  # being written
            event = json.loads(line)
            thing = event.get("objectRef", {})
            parts = (thing.get("resource", ""), thing.get("subresource", ""))
            yield Write(
                at=datetime.fromisoformat(event["stageTimestamp"]).astimezone(UTC),
                user=event["user"].get("username", ""),
                verb=event["verb"],
                resource="/".join(part for part in parts if part),
                namespace=thing.get("namespace", ""),
                name=thing.get("name", ""),
                code=event.get("responseStatus", {}).get("code", 0),
                client=event.get("userAgent", ""),
                sent=event.get("requestObject"),
            )
