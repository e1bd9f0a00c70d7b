"""What an operator wrote to the API server beside its Lease and what only tells how far its jobs are."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from builders.releases import NAME, Release
from deepseek_operator.api.status import JobStatus
from deepseek_operator.api.stored_status import read_status
from deepseek_operator.status_writer import settled
from testcluster.audit import Write

TOLD: Final = ("CheckpointSaved", "Evaluated")
"""Reasons of Events that come with a job's progress."""


def written(release: Release, since: datetime) -> tuple[list[Write], int]:
    """Of this release's operator: what changed anything, whether or not it was done; how often progress was told."""
    others: list[Write] = []
    progress = 0
    for write, tells in _sorted(release):
        if write.at >= since:
            progress += tells
            if not tells:
                others.append(write)
    return others, progress


def _sorted(release: Release) -> Iterator[tuple[Write, bool]]:
    """Each write, the Lease's aside, and whether it only tells progress."""
    before: dict[tuple[str, str], JobStatus] = {}
    reasons: dict[tuple[str, str], str] = {}
    for write in release.cluster.writes(user=release.user):
        if (write.resource, write.name) == ("leases", f"deepseek-operator-{NAME}"):
            continue
        sent: Any = write.sent
        at = (write.namespace, write.name)
        if write.resource == "deepseekjobs/status":
            status = settled(read_status(sent)).model_copy(update={"progress": None})
            yield write, before.get(at) == status
            before[at] = status
        elif write.resource == "events":
            event = (write.namespace, str(sent.get("metadata", {}).get("name") or write.name))
            reasons.setdefault(event, str(sent.get("reason", "")))
            yield write, reasons[event] in TOLD
        else:
            yield write, False
