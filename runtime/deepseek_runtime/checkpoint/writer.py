"""The thread that writes to a store while its server trains.

Jobs wait in a bounded queue and are done one after another. A job that finds the store unreachable is tried again with
growing pauses; whatever else goes wrong reaches its callback, never the server's loop: a full disk is an alarm, not a
crash, and there is no half checkpoint, since a store shows files whole or not at all.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from deepseek_runtime.checkpoint.store import Store, StoreError, retrying

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Job:
    do: Callable[[Store], Any]
    done: Callable[[Any], None]
    tries: int


class Writer:
    """One thread. `submit` never blocks; callbacks come on the thread and should only pass the result on."""

    def __init__(self, store: Store, *, waiting: int = 8, tries: int = 6, first_pause: float = 0.5) -> None:
        """waiting: jobs that may be queued; tries, first_pause: see `retrying` (6 tries: about 12 s of pauses)."""
        self.store = store
        self._tries = tries
        self._first_pause = first_pause
        self._queue: queue.Queue[_Job | None] = queue.Queue(waiting + 1)  # + 1: the end is always let in
        self._waiting = waiting
        self._closing = threading.Event()
        self._abandoned = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="checkpoint-writer", daemon=True)
        self._thread.start()

    def submit(
        self, job: Callable[[Store], T], done: Callable[[T | StoreError], None], tries: int | None = None
    ) -> bool:
        """Queues a job; False (and no callback) when the queue is full or the writer closed.

        job: may be called several times, so it must be able to begin anew; done: called once, with what it returned or
        the StoreError that it ended with. tries: of this one, instead of the writer's.
        """
        with self._lock:
            if self._closing.is_set() or self._queue.qsize() >= self._waiting:
                return False
            self._queue.put_nowait(_Job(job, done, tries or self._tries))
            return True

    def close(self, timeout: float) -> bool:
        """Takes no more jobs, and waits until those queued are done; True if they are in time.

        If not, pauses between tries end at once and what is left is told `unreachable`; a call to the store that hangs
        is left to itself (the thread does not keep the process alive).
        """
        with self._lock:
            if not self._closing.is_set():
                self._closing.set()
                self._queue.put_nowait(None)
        self._thread.join(timeout)
        if not self._thread.is_alive():
            return True
        self._abandoned.set()
        return False

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            job.done(self._result(job))

    def _result(self, job: _Job) -> Any:
        def attempt() -> Any:
            if self._abandoned.is_set():
                raise StoreError("unreachable", f"{self.store.uri}: given up because the process ends")
            return job.do(self.store)

        try:
            return retrying(attempt, wait=self._abandoned.wait, tries=job.tries, first=self._first_pause)
        except StoreError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a job's mistake must reach its callback, not end the thread
            return StoreError("failed", f"{self.store.uri}: {type(error).__name__}: {error}")
