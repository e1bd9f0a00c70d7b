"""Whether a job's part of etcd is its own: what its status says of it."""

import time

from deepseek_operator.api.conditions import get, set_condition
from deepseek_operator.api.status import JobStatus

_SHARED = (
    "all jobs share one user of etcd, so the members of a job can read and change what etcd holds of the others: give "
    "the operator an authority that signs for etcd (docs/reasons/EtcdShared.md)"
)


def with_isolation(status: JobStatus, isolated: bool) -> JobStatus:
    """The condition Isolated is there from the first time that a job is not; `status` itself when nothing changes."""
    before = get(status.conditions, "Isolated")
    if isolated and before is None:
        return status
    reason, message = ("OwnUser", "") if isolated else ("EtcdShared", _SHARED)
    generation = before.observed_generation if before is not None else status.observed_generation
    conditions = set_condition(
        status.conditions, "Isolated", isolated, reason, message, now=time.time(), generation=generation
    )
    return status if conditions is status.conditions else status.model_copy(update={"conditions": conditions})
