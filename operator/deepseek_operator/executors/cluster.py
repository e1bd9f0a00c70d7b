"""Members as pods of a job's namespace.

What is there is told by the watch's cache (`pods`), which is a little late: pods that this executor made are listed
until the cache shows them, and those that it deleted are not listed while the cache still does. Everything else that
counts stands in the objects themselves, so that another process goes on where this one stopped:

    a pod's name and labels     role, index, incarnation, generation
    the label `kept`            a pod that has ended, was judged, and stays to be looked at

Every delete names the uid; a name is never used twice, so a create that finds its own pod there has succeeded.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from deepseek_operator.executors.belongings import Belongings
from deepseek_operator.executors.inputs import Inputs, is_owned
from deepseek_operator.executors.render.parts import Manifest
from deepseek_operator.executors.render.pods import member_pod
from deepseek_operator.executors.sight import failed, member_of, node_silent, over, sight, vanished
from deepseek_operator.executors.stuck import MountProblems
from deepseek_operator.kube import PODS, Api, ApiError, Conflict, Exists, Forbidden, Invalid, NotFound, NotLeading
from deepseek_operator.reconcile.observe import MemberSeen, Obstacle
from deepseek_operator.reconcile.plan import Plan
from deepseek_runtime.contract.names import LABEL_KEPT, LABEL_ROLE, Member, Role, member_name

logger = logging.getLogger(__name__)

SHOWN_WITHIN = 10.0
"""Seconds within which the cache shows a pod that was made; after them the API server is asked."""
FORGOTTEN_AFTER = 120.0
"""Seconds after which a deleted pod that the cache does not show is not remembered any more."""
KILL_GRACE = 1
"""Seconds; 0 would tell the API server to forget a pod that its node still runs."""


@dataclass(slots=True)
class _Made:
    pod: Manifest
    at: float


@dataclass(slots=True)
class _Deleted:
    at: float
    forced: bool
    """Forgotten by the API server, whatever its node does."""
    kept: bool = False
    """Not deleted at all, only nobody's member any more: the cache does not show its label yet."""


class ClusterExecutor:
    """One job's. One thread. pods: of this job, from the cache; node_lost: whether a node says nothing any more.

    keys_hold: whether new members find the keys that the others have; while they do not, none is made.
    asked: whom an earlier process meant to ask to leave. The status has them before their pods are told: one that shows
    no sign of it never was. `observe` raises nothing; `apply` raises ApiError, after which the round is to be repeated.
    """

    def __init__(
        self,
        api: Api,
        inputs: Inputs,
        *,
        pods: Callable[[], Iterable[Manifest]],
        node_lost: Callable[[str], bool],
        keys_hold: Callable[[], bool] = lambda: True,
        asked: Iterable[Member] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._api = api
        self._inputs = inputs
        self._pods = pods
        self._node_lost = node_lost
        self._keys_hold = keys_hold
        self._now = now
        self._asked = set(asked)
        self._told: set[Member] = set()
        """Of those, whose pods the API server has ended for us: the cache may not show it yet."""
        self._belongings = Belongings(api)
        self._mounts = MountProblems(api)
        self._made: dict[Member, _Made] = {}
        self._unmade: dict[Member, MemberSeen] = {}
        self._deleted: dict[str, _Deleted] = {}
        """By uid."""
        self._listed: dict[Member, tuple[MemberSeen, Manifest | None]] = {}
        """As last observed; None: its pod is gone."""

    def use(self, inputs: Inputs) -> None:
        """What members are made from, from now on."""
        self._inputs = inputs

    def obstacle(self) -> Obstacle | None:
        return self._inputs.obstacle

    def close(self) -> None:
        """Nothing is held open. Members go on."""

    # --- observe

    def observe(self) -> tuple[MemberSeen, ...]:
        now = self._now()
        found: dict[Member, tuple[MemberSeen, Manifest | None]] = {}
        for member, pod in self._there(now).items():
            found[member] = (self._look(member, pod, now), pod)
        for member, (known, _) in self._listed.items():
            if member not in found and member not in self._unmade:
                found[member] = (vanished(known, now), None)
        self._listed = found
        seen = {member: one for member, (one, _) in found.items()} | self._unmade
        return tuple(seen[member] for member in sorted(seen))

    def _there(self, now: float) -> dict[Member, Manifest]:
        """The pods that are members: from the cache, and those it does not show yet; without those that we deleted."""
        pods = list(self._pods())
        shown = {_uid(pod) for pod in pods}
        for uid, deleted in list(self._deleted.items()):
            if uid not in shown and now - deleted.at > FORGOTTEN_AFTER:
                del self._deleted[uid]
        there: dict[Member, Manifest] = {}
        for member, made in list(self._made.items()):
            if _uid(made.pod) in shown or not self._still_there(made, now):
                del self._made[member]
            else:
                there[member] = made.pod
        for pod in pods:
            named = member_of(pod)
            if named is not None and not self._hidden(pod):
                self._unmade.pop(named, None)
                there[named] = pod
        return there

    def _hidden(self, pod: Manifest) -> bool:
        """Deleted by us: not a member any more, unless its node is lost and nobody will ever end it there."""
        deleted = self._deleted.get(_uid(pod))
        return deleted is not None and (deleted.forced or not (self._node_lost(_node(pod)) or node_silent(pod)))

    def _still_there(self, made: _Made, now: float) -> bool:
        if now - made.at <= SHOWN_WITHIN:
            return True
        made.at = now
        try:
            held = self._api.get(PODS, self._inputs.owner.namespace, made.pod["metadata"]["name"])
        except ApiError as error:
            logger.warning("cannot ask for a pod that the watch does not show: %s", error)
            return True
        return held is not None and _uid(held) == _uid(made.pod)

    def _look(self, member: Member, pod: Manifest, now: float) -> MemberSeen:
        node = _node(pod)
        lost = bool(node) and self._node_lost(node)
        asked = member in self._asked and (member in self._told or over(pod) or _being_deleted(pod))
        seen = sight(pod, member, now=now, asked=asked, node_lost=lost)
        before = self._listed.get(member)
        if before is not None and before[0].phase == seen.phase == "gone":
            return before[0]  # how it ended does not change; when it did may have no time of its own
        return self._mounts.explained(seen, pod, now)

    # --- apply

    def apply(self, plan: Plan) -> None:
        ended = bool(plan.status.finished)
        for member in plan.delete:
            self._delete(member, ended)
        for member in plan.terminate:
            self._terminate(member, ended)
        if ended:
            self._clean()
        if plan.create:
            self._create_all(plan.create)

    def _delete(self, member: Member, ended: bool) -> None:
        self._unmade.pop(member, None)
        seen, pod = self._listed.get(member, (None, None))
        if member in self._made:
            pod = self._made[member].pod
        if pod is not None:
            if self._stays(pod, member, ended):
                self._keep(pod, member.role, ended)
            else:
                nothing_runs = over(pod) or (seen is not None and seen.node_lost)
                self._remove(pod, 0 if nothing_runs else KILL_GRACE)
        self._forget(member)

    def _terminate(self, member: Member, ended: bool) -> None:
        if self._unmade.pop(member, None) is not None:
            self._forget(member)
            return
        pod = self._made[member].pod if member in self._made else self._listed.get(member, (None, None))[1]
        if pod is None:
            return
        if ended and self._policy == "None":
            self._keep(pod, member.role, ended)
            self._forget(member)
            return
        self._asked.add(member)
        self._api.delete(PODS, self._inputs.owner.namespace, pod["metadata"]["name"], uid=_uid(pod))
        self._told.add(member)

    def _forget(self, member: Member) -> None:
        self._made.pop(member, None)
        self._listed.pop(member, None)
        self._asked.discard(member)
        self._told.discard(member)

    def _remove(self, pod: Manifest, grace: int) -> None:
        self._api.delete(PODS, self._inputs.owner.namespace, pod["metadata"]["name"], uid=_uid(pod), grace=grace)
        self._deleted[_uid(pod)] = _Deleted(self._now(), grace == 0)

    # --- what stays to be looked at

    @property
    def _policy(self) -> Literal["Running", "All", "None"]:
        return self._inputs.job.spec.run_policy.clean_pod_policy

    def _stays(self, pod: Manifest, member: Member, ended: bool) -> bool:
        """While a job runs: the newest failed pod of each role. Of one that has ended: as runPolicy says."""
        if _being_deleted(pod):
            return False
        if ended:
            return self._policy == "None" or (self._policy == "Running" and over(pod))
        return failed(pod) and member not in self._asked

    def _keep(self, pod: Manifest, role: Role, ended: bool) -> None:
        """Nobody's member from here on. Of a running job the one that was kept before goes."""
        name, namespace = pod["metadata"]["name"], self._inputs.owner.namespace
        label = {"metadata": {"name": name, "uid": _uid(pod), "labels": {LABEL_KEPT: "true"}}}
        try:
            self._api.apply(PODS, namespace, label)
        except (NotFound, Conflict):
            return
        self._deleted[_uid(pod)] = _Deleted(self._now(), True, kept=True)
        if not ended:
            for old in self._kept():
                if _uid(old) != _uid(pod) and old["metadata"]["labels"].get(LABEL_ROLE) == role:
                    self._remove(old, 0)

    def _kept(self) -> list[Manifest]:
        return [pod for pod in self._pods() if LABEL_KEPT in (pod["metadata"].get("labels") or {})]

    def _clean(self) -> None:
        if self._policy == "All":
            for pod in self._kept():
                deleted = self._deleted.get(_uid(pod))
                if deleted is None or deleted.kept:
                    self._remove(pod, 0)

    # --- create

    def _create_all(self, members: Iterable[Member]) -> None:
        failure: ApiError | None = None
        try:
            if not self._keys_hold():
                raise Conflict("the Secrets with the members' keys are gone or hold others: all members are replaced")
            self._belongings.ensure(self._inputs, self._pods)
        except NotLeading:
            raise
        except ApiError as error:
            failure = error
        for member in members:
            if failure is None:
                try:
                    self._create(member)
                    continue
                except NotLeading:
                    raise
                except ApiError as error:
                    # Whatever it was: of many that are asked for at once the first one's answer is enough.
                    failure = error
            self._not_made(member, failure)

    def _create(self, member: Member) -> None:
        inputs = self._inputs
        if inputs.storage is None or inputs.config is None:
            raise Invalid("the job has no storage yet")
        names = self._belongings.names(inputs)
        manifest = member_pod(
            inputs.job, inputs.owner, member, inputs.settings, inputs.storage,
            generation=inputs.generation, config=names.config, code=names.code,
        )  # fmt: skip
        try:
            pod = self._api.create(PODS, inputs.owner.namespace, manifest)
        except Exists:
            held = self._api.get(PODS, inputs.owner.namespace, manifest["metadata"]["name"])
            if held is None or not is_owned(held, inputs.owner):
                raise
            pod = held
        logger.info("made the pod %s", manifest["metadata"]["name"])
        self._unmade.pop(member, None)
        self._made[member] = _Made(pod, self._now())

    def _not_made(self, member: Member, error: ApiError) -> None:
        name = member_name(self._inputs.job.name, member)
        logger.warning("the pod %s could not be made: %s", name, error)
        obstacle = None
        if isinstance(error, Exists):
            obstacle = Obstacle(
                "PodRefused",
                f"there is a pod {name} already, which is not this job's",
                "Wait until it is gone, or delete it",
            )
        elif isinstance(error, Forbidden | Invalid | NotFound):
            obstacle = Obstacle(
                "PodRefused",
                f"the API server refuses what the job needs: {str(error).rstrip('. ')}",
                "Raise the quota, or mend the field that is named; kubectl describe resourcequota shows quotas",
            )
        self._unmade[member] = MemberSeen(
            member.role, member.index, member.incarnation, "starting",
            since=self._now(), generation=self._inputs.generation, made=False, waiting=obstacle,
        )  # fmt: skip


def _uid(pod: Manifest) -> str:
    return str(pod["metadata"].get("uid", ""))


def _node(pod: Manifest) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _being_deleted(pod: Manifest) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))
