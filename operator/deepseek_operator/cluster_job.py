"""One job in a cluster: from its object to its rounds, and what is left to do when it has ended.

Everything that talks to somebody is opened when the first round needs it, and closed when the job rests (finished, or
suspended with nobody left). What is remembered stands in the status; the rest follows from what is seen.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from deepseek_operator.api.conditions import derive_phase, get, set_condition
from deepseek_operator.api.config import cluster_generation
from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.load import read_job
from deepseek_operator.api.problems import ManifestError
from deepseek_operator.api.status import JobEvent, JobStatus
from deepseek_operator.api.times import stamp
from deepseek_operator.executors.cluster import ClusterExecutor
from deepseek_operator.executors.inputs import Inputs, inputs_of, look
from deepseek_operator.executors.own_store import is_ours, look_in_store
from deepseek_operator.executors.render.parts import Owner
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.isolation import with_isolation
from deepseek_operator.kube import JOBS, Api, Object
from deepseek_operator.loop import Round, Stale
from deepseek_operator.reconcile.intent import Intent
from deepseek_operator.status_writer import ProgressBudget, StatusWriter
from deepseek_operator.world import World, uid
from deepseek_runtime.contract.names import LABEL_KEPT, Member
from deepseek_runtime.contract.store import job_folder
from deepseek_runtime.membership import Membership

logger = logging.getLogger(__name__)

RENEWAL_SECONDS = 3600.0
"""How often it is looked whether certificates are to be renewed: they last for months more then."""
OBSTACLE_SECONDS = 10.0
"""How often it is looked whether what kept a job from starting is gone: claims and ConfigMaps are not watched."""


@dataclass(frozen=True, slots=True)
class Around:
    """What a job's rounds need of the operator.

    ensure_secrets: job_secrets.ensure_secrets, of a job and whether somebody has its keys; raises ApiError. isolated:
    whether jobs are kept apart in etcd.
    """

    api: Api
    world: World
    budget: ProgressBudget
    rendering: Rendering
    drain_seconds: float
    ring: Callable[[str], None]
    tell: Callable[[Owner, JobEvent], None]
    membership: Callable[[Owner, Callable[[], None]], Membership]
    ensure_secrets: Callable[[Owner, bool], str | None]
    isolated: bool


class ClusterJob:
    """Called by one thread at a time. All methods may raise ApiError."""

    def __init__(self, around: Around, item: Object) -> None:
        """Raises StatusUnreadable."""
        metadata = item["metadata"]
        self.owner = Owner(metadata["name"], metadata["namespace"], uid(item))
        self._around = around
        self._writer = StatusWriter(around.api, item, around.budget)
        self._round: Round | None = None
        self._executor: ClusterExecutor | None = None
        self._membership: Membership | None = None
        self._inputs: Inputs | None = None
        self._generation = ""
        """That the spec asks for."""
        self._read_of = -1
        """metadata.generation of what was last read."""
        self._look_at = float("inf")
        self._keys: str | None = None
        """Fingerprint; None: not looked at yet, or lost."""
        self._keys_at = float("-inf")
        """Monotonic: when it was last looked at."""

    @property
    def status(self) -> JobStatus:
        return self._writer.stored if self._round is None else self._round.status

    @property
    def etcd_answers(self) -> bool | None:
        """None: it is not being watched."""
        membership = self._membership
        return None if membership is None else membership.view().unknown_since is None

    @property
    def active(self) -> bool:
        """Whether it may have progress to tell."""
        return self._membership is not None

    def look_again(self) -> None:
        """What the job names in its namespace may have changed, although the job has not."""
        self._look_at = 0.0

    def tend(self, item: Object) -> float | None:
        """One round, if one is due; in how many seconds the next is (None: when something changes)."""
        if self._writer.foreign(item) and self._round is not None:
            self._round.status = self._writer.stored
        new = self._read_of != item["metadata"].get("generation", 0)
        if (new or time.monotonic() >= self._look_at) and not self._read(item):
            return None
        assert self._inputs is not None
        intent = self._intent(self._inputs.job, item)
        if self._rests(intent):
            self.close()
            return self._time_to_live(self._inputs.job)
        rounds = self._open(self._inputs)
        if self._keys is None or time.monotonic() - self._keys_at > RENEWAL_SECONDS:
            self._look_at_keys()
        try:
            _, due = rounds.once(replace(intent, keys=self._keys))
        except Stale as why:
            logger.info("the status was written by somebody else: planned again (%s)", why)
            if self._writer.reload():
                rounds.status, rounds.unsaved = self._writer.stored, False
            return 0.0
        if self._inputs.obstacle is None:
            return due
        return OBSTACLE_SECONDS if due is None else min(due, OBSTACLE_SECONDS)

    def close(self) -> None:
        """Members go on."""
        if self._executor is not None:
            self._executor.close()
        if self._membership is not None:
            self._membership.close()
        self._round = self._executor = self._membership = None

    def _read(self, item: Object) -> bool:
        """Takes the spec, and what it names, as they are now; False: it cannot be used, and the status says why."""
        try:
            job = read_job(item)
        except ManifestError as error:
            self._refuse(item, str(error))
            return False
        around, had = self._around, self.status.generation
        found = look(around.api, job, self.owner)
        generation = cluster_generation(job, found.digest)
        inputs = inputs_of(job, self.owner, around.rendering, found, generation)
        if inputs.obstacle is None and not self.status.opened:
            inputs = replace(inputs, obstacle=look_in_store(job, self.owner, around.rendering))
        if inputs.obstacle is not None and had:
            # Nobody can be made now, so nobody is replaced: what runs goes on with what it has.
            inputs, generation = replace(inputs, generation=had), had
        self._inputs, self._generation = inputs, generation
        self._read_of = item["metadata"].get("generation", 0)
        self._look_at = time.monotonic() + OBSTACLE_SECONDS if inputs.obstacle is not None else float("inf")
        if self._executor is not None:
            self._executor.use(inputs)
            self._look_at_keys()
        return True

    def outlives_it(self) -> str:
        """What stays when the job is deleted, for people; empty: it was never read."""
        if self._inputs is None:
            return ""
        job, owner, settings = self._inputs.job, self.owner, self._around.rendering
        gone = "deleted: its pods, Secrets, ConfigMaps and keys go with it"
        if not self.status.opened:
            return f"{gone}; it had saved nothing"
        again = f"checkpoint.restoreFrom: job://{owner.name} begins from them, in a job of the same storage"
        if not is_ours(job, settings):
            where = self._inputs.storage.uri if self._inputs.storage is not None else "its storage"
            return f"{gone}; its checkpoints stay in {where} until somebody removes them there; {again}"
        folder = job_folder(owner.namespace, owner.name, owner.uid)
        return (
            f"{gone}; its checkpoints stay in the installation's store as {folder}; {again}; an administrator removes "
            f"them in the store's pod: python -m deepseek_runtime.stored_jobs remove {folder}"
        )

    def _refuse(self, item: Object, message: str) -> None:
        """A spec that the API server took and we cannot read, as of another version: nothing is done until we can."""
        generation = int(item["metadata"].get("generation", 0))
        status = self.status
        said = set_condition(
            status.conditions, "Blocked", True, "InvalidSpec", message, now=time.time(), generation=generation
        )
        if said != status.conditions:
            update = {"conditions": said, "phase": derive_phase(said), "message": message}
            self._writer.save(status.model_copy(update=update))
            event = JobEvent(time=stamp(time.time()), type="Warning", reason="InvalidSpec", message=message)
            self._around.tell(self.owner, event)

    def _intent(self, job: DeepseekJob, item: Object) -> Intent:
        return replace(
            Intent.of(job, self.owner.uid, self._generation),
            local=False,
            observed_generation=int(item["metadata"].get("generation", 0)),
            drain_bound=self._around.drain_seconds,
        )

    def _rests(self, intent: Intent) -> bool:
        """It has ended, or is suspended; nobody is left, and the status says so."""
        status = self.status
        if self._round is not None and (self._round.unsaved or self._round.deferred):
            return False
        if status.members or status.observed_generation != intent.observed_generation or self._anybody():
            return False
        said = get(status.conditions, "Suspended")
        suspended = intent.suspend and said is not None and said.status == "True"
        return bool(status.finished) or (suspended and status.generation == intent.generation)

    def _anybody(self) -> bool:
        """Whether there are pods, those aside that are kept for their logs."""
        return any(LABEL_KEPT not in (pod["metadata"].get("labels") or {}) for pod in self._pods())

    def _open(self, inputs: Inputs) -> Round:
        if self._round is not None:
            return self._round
        around, status = self._around, self._writer.stored
        self._look_at_keys()
        told = with_isolation(status, around.isolated)
        self._membership = around.membership(self.owner, self._ring)
        self._membership.start()
        self._executor = ClusterExecutor(
            around.api,
            inputs,
            pods=self._pods,
            node_lost=around.world.node_lost,
            keys_hold=self._keys_hold,
            asked=[Member(m.role, m.index, m.incarnation) for m in status.members if m.terminating],
        )
        self._round = Round(
            executor=self._executor,
            etcd=self._membership,
            save=self._writer.save,
            status=told,
            tell=self._tell,
        )
        self._round.unsaved = told is not status
        return self._round

    def _look_at_keys(self) -> None:
        """Of a job that has ended nobody needs any."""
        if not self.status.finished:
            held = bool(self.status.members) or self._anybody()
            self._keys = self._around.ensure_secrets(self.owner, held)
            self._keys_at = time.monotonic()

    def _keys_hold(self) -> bool:
        """Whether who is made now finds the keys that the others have: Secrets are not watched."""
        self._look_at_keys()
        return self._keys is not None and self._keys == self.status.keys

    def _tell(self, events: Iterable[JobEvent]) -> None:
        for event in events:
            self._around.tell(self.owner, event)

    def _pods(self) -> list[Object]:
        return self._around.world.pods(self.owner.uid)

    def _ring(self) -> None:
        self._around.ring(self.owner.uid)

    def _time_to_live(self, job: DeepseekJob) -> float | None:
        """Deletes a job that has been finished for long enough; seconds until then."""
        ttl = job.spec.run_policy.ttl_seconds_after_finished
        if ttl is None or not self.status.finished:
            return None
        left = datetime.fromisoformat(self.status.finished).timestamp() + ttl - time.time()
        if left > 0:
            return left
        logger.info("deleted: it ended more than ttlSecondsAfterFinished (%d s) ago", ttl)
        self._around.api.delete(JOBS, self.owner.namespace, self.owner.name, uid=self.owner.uid)
        return None
