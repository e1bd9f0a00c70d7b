"""Times as Kubernetes writes them: RFC 3339, UTC."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


def rfc3339(seconds: float) -> str:
    """Seconds since the Unix epoch, as whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp(wall: float) -> str:
    """Seconds since the Unix epoch, with milliseconds."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(text: str) -> float:
    """The inverse of `stamp`. Raises ValueError."""
    return datetime.fromisoformat(text).timestamp()
