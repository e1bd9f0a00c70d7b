"""One replica of the operator, put together: what runs in which thread, what begins and ends in which order.

kopf (handlers.py)            feeds the world, on every replica
resync                        lists everything now and then, on every replica; the leader sweeps etcd as well
leadership                    takes and renews the Lease
rounds-N (cluster_jobs.py)    the leader's rounds
events, probes
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from kubernetes.client import Configuration

from deepseek_operator import credentials
from deepseek_operator.certificates import Authority, CertificateError, Pair
from deepseek_operator.cluster_job import Around
from deepseek_operator.cluster_jobs import ClusterJobs
from deepseek_operator.etcd_access import EtcdAccess, GuardedMembership
from deepseek_operator.etcd_sweep import EtcdKeys
from deepseek_operator.events import About, Recorder
from deepseek_operator.executors.render.parts import Owner
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.handlers import Feed
from deepseek_operator.job_secrets import Certificates, OwnCertificates, SharedCertificate, ensure_secrets
from deepseek_operator.kube import (
    JOBS,
    NODES,
    PODS,
    Api,
    ApiError,
    NotFound,
    Object,
    Rate,
    Resource,
    current_namespace,
    unfenced,
)
from deepseek_operator.leadership import Leadership
from deepseek_operator.loop import Queue
from deepseek_operator.metrics import Metrics
from deepseek_operator.probes import Probes
from deepseek_operator.settings import Settings, process_identity
from deepseek_operator.status_writer import ProgressBudget
from deepseek_operator.world import World, uid
from deepseek_runtime.contract.config import EtcdTls
from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.contract.names import LABEL_JOB
from deepseek_runtime.contract.version import VERSION
from deepseek_runtime.membership import Membership, TlsFiles, Unavailable

logger = logging.getLogger(__name__)

STANDS_STILL = 60.0
"""Seconds without a sign of life of a thread after which /healthz fails."""
SETTLES = 2.0
"""Seconds between a watch that began anew and the listing that finds what it missed."""
SWEEP_SECONDS = 3600.0
RENEW_SECONDS = 86_400.0
"""How often the installation's own certificates are looked after: they are renewed months before they end."""
STOPS_WITHIN = 5.0


class CannotOperate(Exception):
    """What this operator needs of the cluster is not there; the message is for people."""


def etcd_tls(settings: Settings) -> TlsFiles | None:
    """The operator's own certificate for etcd."""
    return TlsFiles.of(EtcdTls(), settings.etcd_certificates) if settings.etcd_certificates else None


def etcd_authority(settings: Settings) -> Authority | None:
    """What signs the certificates of jobs; None: it is not ours, or etcd asks for none. Raises CannotOperate."""
    folder = settings.etcd_certificates
    if folder is None or not (folder / "ca.key").is_file():
        return None
    try:
        return Authority(Pair((folder / "ca.crt").read_bytes(), (folder / "ca.key").read_bytes()))
    except (CertificateError, OSError) as error:
        raise CannotOperate(f"the authority in {folder} cannot be used: {error}") from error


class Operator:
    def __init__(self, settings: Settings, cluster: Callable[[], Configuration], end: Callable[[str], None]) -> None:
        """end: called with the reason when this replica cannot go on. Raises CannotOperate and kube.NoCluster."""
        self._settings = settings
        self._end = end
        configuration = cluster()
        self._namespace = namespace = settings.namespace or current_namespace()
        identity = settings.identity or process_identity()
        self._queue = Queue()
        self._world = World(self._queue.add)
        rate = Rate(settings.requests_per_second, burst=max(1, int(2 * settings.requests_per_second)))
        # A Lease is renewed whatever else waits for its turn.
        self._unfenced = Api(configuration, fence=unfenced, who=identity)
        self._leadership = Leadership(
            self._unfenced,
            namespace,
            f"deepseek-operator-{settings.install}",
            identity,
            began=self._lead,
            lost=end,
        )
        self._tls = etcd_tls(settings)
        authority = etcd_authority(settings)
        self._access: EtcdAccess | None = None
        self._certificates: Certificates | None = None
        if self._tls is not None and authority is not None:
            self._access = EtcdAccess(settings.etcd, self._tls, settings.install)
            self._certificates = OwnCertificates(authority)
        elif self._tls is not None:
            self._certificates = SharedCertificate(self._tls.read)
        self._keys = EtcdKeys(settings.etcd, self._tls, settings.install, self._access)
        self._jobs = ClusterJobs(self._world, self._queue, self._forget, settings.workers)
        self._metrics = Metrics(self._jobs.shown, self._queue.__len__, self._leadership.valid)
        self._api = Api(
            configuration, fence=self._leadership.fence, rate=rate, observe=self._metrics.request, who=identity
        )
        self._recorder = Recorder(self._api, identity, dropped=self._metrics.events_dropped.inc)
        self._feed = Feed(
            cluster, self._world, namespaces=settings.watch_namespaces, relisted=self._relisted, ended=end
        )
        self._resync_now = threading.Event()
        self._stop = threading.Event()
        self._resync_beat = time.monotonic()
        self._resync = threading.Thread(target=self._resyncs, name="resync", daemon=True)
        self._probes = self._make_probes(settings.port)

    def start(self) -> None:
        """Raises CannotOperate."""
        try:
            self._list(JOBS)
        except NotFound as error:
            raise CannotOperate("the kind DeepseekJob is not known here: install the chart's CRDs") from error
        except ApiError as error:
            raise CannotOperate(f"DeepseekJobs cannot be listed: {error}") from error
        where = ", ".join(self._settings.watch_namespaces) or "all namespaces"
        logger.info("deepseek-operator %s runs the jobs of %s; port %d", VERSION, where, self._probes.port)
        self._probes.start()
        self._feed.start()
        self._recorder.start()
        self._resync.start()
        self._leadership.start()

    def stop(self) -> None:
        """Takes a few seconds; members go on."""
        self._stop.set()
        self._resync_now.set()
        self._jobs.stop(STOPS_WITHIN)
        self._recorder.stop(1.0)
        self._leadership.stop()
        self._feed.stop(2.0)
        self._probes.stop()
        self._keys.close()
        if self._access is not None:
            self._access.close()
        logger.info("ended")

    def _lead(self) -> None:
        """What was seen so far may be older than what the leader before us wrote: everything is listed first."""
        threading.Thread(target=self._begin, name="begin", daemon=True).start()

    def _begin(self) -> None:
        while not self._stop.is_set():
            try:
                self._list_all()
                break
            except ApiError as error:
                logger.warning("cannot begin yet: %s", error)
                self._stop.wait(1.0)
        else:
            return
        settings = self._settings
        around = Around(
            api=self._api,
            world=self._world,
            budget=ProgressBudget(settings.progress_per_second, self._jobs.active),
            rendering=self._rendering(),
            drain_seconds=settings.drain_seconds,
            ring=self._queue.add,
            tell=lambda owner, event: self._recorder.tell(About(owner.namespace, owner.name, owner.uid), event),
            membership=self._membership,
            ensure_secrets=lambda owner, held: ensure_secrets(self._api, owner, self._certificates, held=held),
            isolated=self._access is not None,
        )
        if self._access is not None:
            self._access.start()
        self._jobs.begin(around, self._metrics)
        self._sweep()

    def _rendering(self) -> Rendering:
        settings = self._settings
        return Rendering(
            image=settings.image,
            install=settings.install,
            namespace=self._namespace,
            own_secrets=settings.own_secrets,
            own_claims=settings.own_claims,
            own_labels=dict(settings.own_labels),
            etcd=settings.etcd,
            etcd_tls=self._tls is not None,
            store_uri=settings.store_uri,
            store_key=settings.store_key.read_bytes() if settings.store_key is not None else b"",
            store_ca=settings.store_ca.read_text() if settings.store_ca is not None else "",
            pull_policy=settings.pull_policy,
            pull_secrets=settings.pull_secrets,
            run_as=settings.run_as,
            node_lost_seconds=settings.node_lost_seconds,
            network_policies=settings.network_policies,
            open_ports=settings.open_ports,
        )

    def _membership(self, owner: Owner, changed: Callable[[], None]) -> Membership:
        keys = JobKeys.of(self._settings.install, owner.namespace, owner.name, owner.uid)
        if self._access is None or self._tls is None:
            return Membership(self._settings.etcd, keys, tls=self._tls, on_change=changed)
        return GuardedMembership(
            self._settings.etcd, keys, tls=self._tls, access=self._access, owner=owner, on_change=changed
        )

    def _forget(self, owner: Owner) -> None:
        self._keys.forget(owner)

    # --- listing

    def _relisted(self) -> None:
        self._resync_now.set()

    def _resyncs(self) -> None:
        swept = renewed = time.monotonic()
        due = time.monotonic() + self._settings.resync_seconds
        while not self._stop.is_set():
            self._resync_beat = time.monotonic()
            # Not longer than it may take until somebody looks for a sign of life.
            if not self._resync_now.wait(max(0.0, min(STANDS_STILL / 4, due - time.monotonic()))):
                if time.monotonic() < due:
                    continue
            else:
                self._stop.wait(SETTLES)
            self._resync_now.clear()
            due = time.monotonic() + self._settings.resync_seconds
            if self._stop.is_set():
                return
            if time.monotonic() - renewed > RENEW_SECONDS and self._renew():
                renewed = time.monotonic()
            try:
                self._list_all()
            except ApiError as error:
                logger.warning("not listed anew: %s", error)
                continue
            if self._leadership.valid():
                self._jobs.ring_all(again=True)
                if time.monotonic() - swept > SWEEP_SECONDS:
                    swept = time.monotonic()
                    self._sweep()

    def _renew(self) -> bool:
        """Every replica does: its own certificate is for itself alone."""
        folder = self._settings.credentials
        try:
            if folder is not None:
                credentials.renew(self._unfenced, folder, datetime.now(UTC))
        except (credentials.CredentialsError, ApiError) as error:
            logger.warning("the installation's certificates are not renewed now: %s", error)
            return False
        return True

    def _list_all(self) -> None:
        for resource, labels in self._kinds():
            before = self._world.names(resource)
            self._world.replace(resource, before, self._list(resource, labels))

    def _kinds(self) -> list[tuple[Resource, str]]:
        kinds = [(JOBS, ""), (PODS, LABEL_JOB)]
        return [*kinds, (NODES, "")] if self._settings.cluster_wide else kinds

    def _list(self, resource: Resource, labels: str = "") -> list[Object]:
        namespaces = self._settings.watch_namespaces if resource.namespaced else ()
        return [
            item for namespace in namespaces or (None,) for item in self._api.list(resource, namespace, labels=labels)
        ]

    def _sweep(self) -> None:
        """Best effort: what cannot be swept now is swept later."""
        try:
            count = self._keys.sweep(self._present, self._settings.watch_namespaces)
        except (Unavailable, ApiError) as error:
            logger.warning("keys of jobs that are gone are not looked for now: %s", error)
        else:
            self._metrics.swept.inc(count)

    def _present(self) -> list[str]:
        """Jobs that there are; and those whose pods are still there, for these would write their keys again."""
        jobs = [uid(item) for item in self._list(JOBS)]
        return [*jobs, *(owner for owner in self._world.owners() if owner not in jobs)]

    # --- probes

    def _make_probes(self, port: int) -> Probes:
        try:
            return Probes(
                port,
                self._metrics.registry,
                ready=lambda: self._feed.ready,
                beats={
                    "watches": (lambda: self._feed.beat, STANDS_STILL),
                    "leadership": (lambda: self._leadership.beat, STANDS_STILL),
                    "resync": (lambda: self._resync_beat, 4 * STANDS_STILL),
                },
            )
        except OSError as error:
            raise CannotOperate(f"port {port} cannot be used ({error.strerror}): set DSJ_OPERATOR_PORT") from error
