"""All jobs of a cluster: who tends which, when, and what is left of those that are gone.

A few threads take what is due from one queue; a job is tended by one of them at a time. An error of one job delays that
job alone, longer each time.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from deepseek_operator.api.status import JobEvent
from deepseek_operator.api.stored_status import StatusUnreadable
from deepseek_operator.api.times import stamp
from deepseek_operator.cluster_job import Around, ClusterJob
from deepseek_operator.executors.render.parts import Owner
from deepseek_operator.kube import ApiError, Object
from deepseek_operator.logs import about
from deepseek_operator.loop import NotSaved, Queue
from deepseek_operator.metrics import JobShown, Metrics
from deepseek_operator.world import World, uid
from deepseek_runtime.membership import TlsError, Unavailable

logger = logging.getLogger(__name__)

LONGEST_WAIT = 60.0
"""Seconds between two tries of a job whose rounds fail."""
TURN = 1.0
"""Seconds that a thread waits for something to do before it looks whether it is to stop."""
LEAVES_WITHIN = 120.0
"""Seconds that the pods of a deleted job have to go before its keys are deleted all the same."""


@dataclass(slots=True)
class _Kept:
    job: ClusterJob | None = None
    failures: int = 0
    owner: Owner | None = None
    outlives_it: str = ""
    """What is told when it is gone."""
    gone_since: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class ClusterJobs:
    """`around` is made with `ring` of this. forget_keys: deletes what etcd has of a job; raises Unavailable."""

    def __init__(self, world: World, queue: Queue, forget_keys: Callable[[Owner], None], threads: int) -> None:
        self._world = world
        self._queue = queue
        self._forget_keys = forget_keys
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, name=f"rounds-{n}", daemon=True) for n in range(threads)]
        self._around: Around | None = None
        self._metrics: Metrics | None = None

    def begin(self, around: Around, metrics: Metrics) -> None:
        """This replica leads from now on; the world was listed just before."""
        self._around, self._metrics = around, metrics
        self.ring_all()
        for thread in self._threads:
            thread.start()

    def stop(self, within: float) -> None:
        """No more rounds; those under way end, if they take no longer than `within` seconds. Members go on."""
        self._stop.set()
        end = time.monotonic() + within
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))

    def ring(self, job_uid: str) -> None:
        self._queue.add(job_uid)

    def ring_all(self, again: bool = False) -> None:
        """again: also what jobs name in their namespaces is looked at."""
        if again:
            with self._lock:
                kept = list(self._kept.values())
            for one in kept:
                if one.job is not None:
                    one.job.look_again()
        for item in self._world.jobs():
            self._queue.add(uid(item))

    def shown(self) -> list[JobShown]:
        """For metrics: of jobs that are tended, their last status."""
        with self._lock:
            jobs = [kept.job for kept in self._kept.values()]
        return [JobShown(job.owner.namespace, job.owner.name, job.status) for job in jobs if job is not None]

    def active(self) -> int:
        with self._lock:
            return sum(kept.job is not None and kept.job.active for kept in self._kept.values())

    def _work(self) -> None:
        while not self._stop.is_set():
            job_uid = self._queue.get(TURN)
            if job_uid is not None:
                self._turn(job_uid)

    def _turn(self, job_uid: str) -> None:
        with self._lock:
            kept = self._kept.setdefault(job_uid, _Kept())
        if not kept.lock.acquire(blocking=False):
            self._queue.add(job_uid, 0.05)  # another thread is at it; what rang may have come too late for it
            return
        try:
            due = self._tend(job_uid, kept)
        finally:
            kept.lock.release()
        if due is not None:
            self._queue.add(job_uid, due)

    def _tend(self, job_uid: str, kept: _Kept) -> float | None:
        """In how many seconds it is due again; None: when something changes."""
        item = self._world.job(job_uid)
        if item is None or item["metadata"].get("deletionTimestamp"):
            return self._bury(job_uid, kept, gone=item is None)
        metadata = item["metadata"]
        with about(job=f"{metadata['namespace']}/{metadata['name']}"):
            return self._round(kept, item)

    def _round(self, kept: _Kept, item: Object) -> float | None:
        around, metrics = self._around, self._metrics
        assert around is not None
        assert metrics is not None
        began = time.monotonic()
        outcome = "ok"
        try:
            if kept.job is None:
                kept.job = ClusterJob(around, item)
                kept.owner = kept.job.owner
            with about(term=kept.job.status.term.number):
                due = kept.job.tend(item)
            kept.failures = 0
            return due
        except (ApiError, NotSaved, StatusUnreadable, TlsError) as error:
            outcome = type(error).__name__
            logger.warning("%s", error)
            return self._later(kept)
        except Exception:
            outcome = "error"
            logger.exception("a round failed")
            return self._later(kept)
        finally:
            metrics.rounds.labels(outcome).inc()
            metrics.round_seconds.observe(time.monotonic() - began)
            answers = kept.job.etcd_answers if kept.job is not None else None
            if answers is not None:
                metrics.etcd_up.set(answers)

    def _later(self, kept: _Kept) -> float:
        kept.failures += 1
        return float(min(LONGEST_WAIT, 2.0 ** min(10, kept.failures - 1)))

    def _bury(self, job_uid: str, kept: _Kept, gone: bool) -> float | None:
        """Its objects go with it, by their owner; its keys are ours to delete, once nobody writes them any more."""
        if kept.job is not None:
            kept.outlives_it = kept.job.outlives_it()
            kept.job.close()
            kept.job = None
        if not gone:
            return None
        now = time.monotonic()
        if kept.gone_since is None:
            kept.gone_since = now
            self._tell_gone(kept)
        if kept.owner is not None:
            if self._world.pods(job_uid) and now - kept.gone_since < LEAVES_WITHIN:
                return 2.0
            try:
                self._forget_keys(kept.owner)
            except Unavailable as error:
                logger.warning("the keys of a deleted job stay until the next sweep: %s", error)
        with self._lock:
            self._kept.pop(job_uid, None)
        return None

    def _tell_gone(self, kept: _Kept) -> None:
        """Events outlive their object for an hour: `kubectl get events` has it. In a namespace that goes nobody can."""
        if self._around is None or kept.owner is None or not kept.outlives_it:
            return
        event = JobEvent(time=stamp(time.time()), type="Normal", reason="Deleted", message=kept.outlives_it)
        self._around.tell(kept.owner, event)
