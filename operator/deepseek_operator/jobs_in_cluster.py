"""The jobs of a cluster, as its people see them: DeepseekJob objects, their Events, their pods.

Nothing here is the operator: it has the rights of whoever calls, and asks the API server alone.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.load import read_job
from deepseek_operator.api.problems import ManifestError
from deepseek_operator.api.scale import check_scale
from deepseek_operator.api.status import JobEvent, JobStatus
from deepseek_operator.api.stored_status import StatusUnreadable, read_status
from deepseek_operator.curves import Curves
from deepseek_operator.executors.processes import Process
from deepseek_operator.kept import NotThere
from deepseek_operator.kube import EVENTS, JOBS, Api, NotFound, Object, Unreachable, current_namespace, find_cluster
from deepseek_operator.place import Busy, Choice, Exported, Log, Patience, Saved, Unreadable, nearest
from deepseek_operator.pod_logs import logs_of
from deepseek_operator.store_reader import StoreReader
from deepseek_operator.view.amounts import seconds_of
from deepseek_operator.view.snapshot import Snapshot
from deepseek_runtime.contract.names import COMMAND

UNSEEN: Final = 15.0
"""Seconds after which a job that no operator has looked at says so."""
SETTLING: Final = 1.0
"""Seconds between two looks."""
NO_DEFINITION: Final = "this cluster knows no DeepseekJobs"
INSTALL: Final = "helm install dsj charts/deepseek-operator --namespace dsj-system --create-namespace (docs/install.md)"


class LossesSeen:
    """A place.Measured from what the status tells, one look after another: the chief's own figures stay in its pod."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self._step = -1

    def read(self) -> None:
        """There is no file."""

    def saw(self, shot: Snapshot) -> None:
        progress = shot.progress
        if progress is not None and progress.loss is not None and progress.step != self._step:
            self._step = progress.step
            self.losses.append(progress.loss)

    def rates(self, now: float) -> Mapping[str, float]:
        return {}


class JobInCluster:
    """A place.Job: a DeepseekJob object. All methods may raise ApiError."""

    tick = SETTLING
    patience = 60.0
    log_sources: tuple[str, ...] = ()

    def __init__(self, api: Api, item: Object) -> None:
        """item: as the API server gave it; a job of the same name that comes after it is another one."""
        about = item["metadata"]
        self.api = api
        self.namespace = str(about["namespace"])
        self.uid = str(about["uid"])
        self._name = str(about["name"])

    @property
    def name(self) -> str:
        return self._name

    def item(self) -> Object:
        """Raises NotThere when it was deleted, Unreadable when nobody answers."""
        try:
            found = self.api.get(JOBS, self.namespace, self.name)
        except Unreachable as error:
            raise Unreadable(str(error)) from error
        if found is None or found["metadata"]["uid"] != self.uid:
            gone = "was deleted" if found is None else "was deleted, and another one has taken its name"
            raise NotThere(f"the job {self.name} in the namespace {self.namespace} {gone}", f"{COMMAND} jobs")
        return found

    def look(self) -> Snapshot:
        item = self.item()
        try:
            events = self.events()
        except Unreachable as error:
            raise Unreadable(str(error)) from error
        return snapshot(item, events, time.time())

    def events(self) -> tuple[JobEvent, ...]:
        found = self.api.list(EVENTS, self.namespace, fields=f"involvedObject.uid={self.uid}")
        return tuple(job_event(one) for one in sorted(found, key=_order))

    def alive(self) -> bool:
        try:
            return snapshot(self.item(), (), time.time()).attended
        except NotThere:
            return False

    def runner(self) -> Process | None:
        return None

    def wait(self, seconds: float) -> bool:
        end, patience = time.monotonic() + seconds, Patience(self.patience)
        while True:
            try:
                if not self.alive():
                    return True
                patience.renew()
            except Unreadable:
                if not patience.lasts():
                    raise
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, SETTLING))

    def stop(self, *, kill: bool = False) -> None:
        """Asks the operator to suspend it. Raises Busy when it is to be killed: there is no such thing there."""
        if kill:
            raise Busy(
                f"a job in a cluster cannot be killed: it drains within a bounded time, or is deleted with "
                f"`kubectl delete dsj {self.name} -n {self.namespace}`"
            )
        self.patch({"suspend": True})

    def resume(self) -> None:
        self.patch({"suspend": False})

    def clear_up(self) -> str:
        return ""

    def scale(self, workers: int | None = None, servers: int | None = None) -> None:
        check_scale(read_job(self.item()), workers, servers)
        wanted = {"workers": workers, "servers": servers}
        self.patch({role: {"replicas": count} for role, count in wanted.items() if count is not None})

    def patch(self, spec: Object) -> None:
        """Of this very job, and none that took its name."""
        self.api.merge(JOBS, self.namespace, self.name, {"metadata": {"uid": self.uid}, "spec": spec})

    def what_goes(self) -> str:
        return f"{self.namespace}/{self.name} with its pods and their logs (checkpoints stay where they are)"

    def delete(self) -> str:
        shot = snapshot(self.item(), (), time.time())
        if shot.attended and shot.status.members:
            raise Busy(f"{self.name} is running")
        self.api.delete(JOBS, self.namespace, self.name, uid=self.uid)
        return f"{self.namespace}/{self.name}"

    def logs(self, choice: Choice, most: int | None = None) -> Mapping[str, Log]:
        return logs_of(self.api, self.namespace, self.name, self.uid, choice, most)

    def measured(self) -> LossesSeen:
        return LossesSeen()

    def reader(self) -> StoreReader:
        """What the job stored, through a pod of its own namespace."""
        return StoreReader(self.api, self.item())

    def curves(self) -> Curves:
        return self.reader().curves(snapshot(self.item(), (), time.time()).status.recoveries)

    def checkpoints(self) -> tuple[str, list[Saved]]:
        return self.reader().checkpoints()

    def export(self, file: Path, step: int | None = None) -> Exported:
        return self.reader().export(file, step)

    def audit(self) -> Any:
        raise NotThere(
            f"samples of {self.name} are counted by its own chief, in the cluster",
            "status().progress has samples_lost and samples_repeated",
        )


class InCluster:
    """A place.Place: a namespace. All methods may raise ApiError and NotThere."""

    cluster = True

    def __init__(
        self,
        api: Api,
        namespace: str,
        *,
        named: bool = False,
        all_namespaces: bool = False,
        spelled: Callable[[str], str] = lambda text: text,
    ) -> None:
        """named: the namespace was asked for; all_namespaces: `looks` and `names` go beyond it."""
        self.api = api
        self.namespace = namespace
        self.named = named
        self.all_namespaces = all_namespaces
        self.spelled = spelled

    @property
    def described(self) -> str:
        return "in this cluster" if self.all_namespaces else f"in the namespace {self.namespace}"

    def names(self) -> list[str]:
        return sorted(item["metadata"]["name"] for item in self._items())

    def find(self, name: str) -> JobInCluster:
        found = self.api.get(JOBS, self.namespace, name) if _is_name(name) else None
        if found is not None:
            return JobInCluster(self.api, found)
        help = nearest(name, self.names(), f"no job is there; `{COMMAND} run JOB.yaml` starts one")
        raise NotThere(f"there is no job {name or repr(name)} {self.described}", help)

    def looks(self) -> list[Snapshot]:
        now = time.time()
        shots = [snapshot(item, (), now) for item in self._items()]
        return sorted(shots, key=lambda shot: (shot.namespace, shot.name))

    def _items(self) -> list[Object]:
        try:
            return self.api.list(JOBS, None if self.all_namespaces else self.namespace)
        except NotFound as error:
            raise NotThere(NO_DEFINITION, INSTALL) from error


def in_cluster(
    context: str = "", namespace: str = "", kubeconfig: str = "", *, spelled: Callable[[str], str] = lambda text: text
) -> InCluster:
    """The cluster and namespace that the kubeconfig means, or these of it. Raises NoCluster."""
    configuration = find_cluster(context or None, kubeconfig or None)
    inside = namespace or current_namespace(context or None, kubeconfig or None)
    return InCluster(Api(configuration, manager=COMMAND), inside, named=bool(namespace), spelled=spelled)


def snapshot(item: Object, events: tuple[JobEvent, ...], now: float) -> Snapshot:
    """What a view shows of a DeepseekJob as the API server has it."""
    about, spec = item["metadata"], item.get("spec") or {}
    status = status_of(item)
    status = status.model_copy(update={"events": events, "started": status.started or about["creationTimestamp"]})
    if not status.conditions and status.phase == "Pending":
        waited = now - (seconds_of(about["creationTimestamp"]) or now)
        if waited > UNSEEN:
            message = f"no operator has looked at it for {waited:.0f} s: is one installed that watches this namespace?"
            status = status.model_copy(update={"message": message})
    return Snapshot(
        name=about["name"],
        namespace=about["namespace"],
        status=status,
        now=now,
        attended=_attended(status, spec, int(about.get("generation", 0))),
        job=_job(item),
    )


def status_of(item: Object) -> JobStatus:
    """Of a DeepseekJob. One that cannot be read says so by its phase and message."""
    try:
        return read_status(item)
    except StatusUnreadable as error:
        return JobStatus(phase="Unreadable", message=f"{error}; another version wrote it")


def _attended(status: JobStatus, spec: Object, generation: int) -> bool:
    """Whether more is to come: it has not ended, and is not suspended as was asked for; or somebody is still there."""
    if status.members:
        return True
    if status.finished:
        return False
    suspended = any(c.type == "Suspended" and c.status == "True" for c in status.conditions)
    return not (spec.get("suspend") and suspended and status.observed_generation == generation)


def _job(item: Object) -> DeepseekJob | None:
    try:
        return read_job(item)
    except ManifestError:
        return None


def job_event(item: Object) -> JobEvent:
    """A Kubernetes Event, of whichever API version."""
    series = item.get("series") or {}
    return JobEvent(
        time=str(_time(item)),
        type="Warning" if item.get("type") == "Warning" else "Normal",
        reason=str(item.get("reason") or ""),
        message=str(item.get("message") or ""),
        count=int(item.get("count") or series.get("count") or 1),
    )


def _time(item: Object) -> str:
    series = item.get("series") or {}
    times = (series.get("lastObservedTime"), item.get("lastTimestamp"), item.get("eventTime"))
    return str(next((time for time in times if time), item["metadata"].get("creationTimestamp", "")))


def _order(item: Object) -> tuple[float, int]:
    """Times are whole seconds; within one the order in which they were written."""
    version = str(item["metadata"].get("resourceVersion", ""))
    return seconds_of(_time(item)) or 0.0, int(version) if version.isdigit() else 0


def _is_name(name: str) -> bool:
    """Anything else would ask for another path."""
    return bool(name) and "/" not in name and name not in (".", "..")
