"""A job's status in the cluster: how it is read, when it is written, and what guards a write.

Changes of state are written at once. What only tells progress shares one budget with all jobs: each may write every
`interval` seconds, which grows with their number, and what waits is not lost: the next write brings it.
"""

import time
from collections.abc import Callable

from deepseek_operator.api.status import Columns, JobStatus
from deepseek_operator.api.stored_status import read_status, stored
from deepseek_operator.kube import JOBS, Api, ApiError, Conflict, NotFound, Object, Rate, Unreachable
from deepseek_operator.loop import NotSaved, Stale
from deepseek_operator.world import uid, version
from deepseek_runtime.contract.config import Timing

LEAST_INTERVAL = Timing().progress
"""Seconds: the chief itself tells its progress no more often."""
BUSY = 0.5
"""Seconds until it is tried again when the budget is spent."""


class ProgressBudget:
    """What all jobs together may write to tell progress. jobs: how many there are that do."""

    def __init__(self, per_second: float, jobs: Callable[[], int]) -> None:
        self._per_second = per_second
        self._jobs = jobs
        self._rate = Rate(per_second, burst=max(1, int(per_second)))

    def interval(self) -> float:
        return max(LEAST_INTERVAL, self._jobs() / self._per_second)

    def take(self) -> bool:
        return self._rate.reserve(0.0) is not None


class StatusWriter:
    """One job's. Called by one thread at a time."""

    def __init__(
        self, api: Api, job: Object, budget: ProgressBudget, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises StatusUnreadable."""
        self._api = api
        self._budget = budget
        self._clock = clock
        self._namespace = str(job["metadata"]["namespace"])
        self._name = str(job["metadata"]["name"])
        self._uid = uid(job)
        self._progress_at = float("-inf")
        self._doubt = False
        self._raw: Object = {}
        self._version = 0
        self._stored = JobStatus()
        self._take(job)

    @property
    def stored(self) -> JobStatus:
        """What the API server holds, as far as we know."""
        return self._stored

    def foreign(self, job: Object) -> bool:
        """Whether the watch shows a newer status than the one we wrote; it then is what holds."""
        if version(job) <= self._version:
            return False
        if (job.get("status") or {}) == self._raw:
            self._version = version(job)  # the spec has changed, or a label
            return False
        self._take(job)
        return True

    def reload(self) -> bool:
        """Reads the object; False: it is gone. Raises ApiError and StatusUnreadable."""
        job = self._api.get(JOBS, self._namespace, self._name)
        if job is None or uid(job) != self._uid:
            return False
        self._take(job)
        self._doubt = False
        return True

    def save(self, status: JobStatus) -> float | None:
        """As loop.Round.save. Raises NotSaved."""
        if self._doubt:
            raise Stale("whether the last status was written is not known")
        if status == self._stored:
            return None
        if settled(status) == settled(self._stored):
            wait = self._progress_at + self._budget.interval() - self._clock()
            if wait > 0:
                return wait
            if not self._budget.take():
                return BUSY
            self._progress_at = self._clock()
        self._write(status)
        return None

    def _write(self, status: JobStatus) -> None:
        manifest = {
            "metadata": {
                "name": self._name,
                "namespace": self._namespace,
                "uid": self._uid,
                "resourceVersion": str(self._version),
            },
            "status": stored(status),
        }
        try:
            # Not a server-side apply: that refuses a status with a field that an older CRD does not know. We are the
            # only writer, and the resourceVersion says whether we still are.
            answer = self._api.replace(JOBS, self._namespace, manifest, subresource="status")
        except (Conflict, NotFound) as error:
            self._doubt = True
            raise Stale(str(error)) from error
        except ApiError as error:
            # It may have been written all the same. Members are not seen to: what was decided would be forgotten.
            self._doubt = isinstance(error, Unreachable)
            raise NotSaved(f"the status cannot be saved: {error}") from error
        self._raw = answer.get("status") or {}
        self._version = version(answer)
        self._stored = status

    def _take(self, job: Object) -> None:
        self._stored = read_status(job)
        self._raw = job.get("status") or {}
        self._version = version(job)


def settled(status: JobStatus) -> JobStatus:
    """The status less what only tells progress: two that are equal in this may wait for one another."""
    progress = status.progress
    return status.model_copy(
        update={
            # What the runtime told (each once) must not be told again by whoever takes over.
            "progress": None if progress is None else progress.model_copy(update=_QUIET),
            "columns": Columns(workers=status.columns.workers, servers=status.columns.servers),
            "members": tuple(
                member.model_copy(update={"trained": min(1, member.trained)}) for member in status.members
            ),
            "recoveries": tuple(
                recovery.model_copy(update={"longest_gap": None, "last_range": None, "gap_before": 0.0})
                for recovery in status.recoveries
            ),
        }
    )


_QUIET: dict[str, object] = {
    "step": 0,
    "epoch": 0.0,
    "loss": None,
    "samples_per_second": 0.0,
    "wire_bytes": 0,
    "dense_bytes": 0,
    "ranges_done": 0,
    "last_range_time": None,
    "longest_gap": 0.0,
    "pushed": 0.0,
    "residual_lost": 0.0,
    "staleness_p50": 0.0,
    "staleness_p95": 0.0,
    "loss_scale": None,
    "guard": None,
    "metrics": {},
    "metrics_step": None,
    "samples_skipped": 0,
    "samples_rolled_back": 0,
    "samples_repeated": 0,
    "samples_lost": 0,
    "checkpoint": None,
    "checkpoint_time": None,
    "workers": 0,
}
