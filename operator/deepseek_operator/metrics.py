"""What Prometheus is told (docs/metrics.md). One registry of our own; jobs that are gone leave no series behind."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deepseek_operator.api.status import JobStatus
from deepseek_runtime.contract.version import VERSION

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PREFIX = "deepseek_operator"


@dataclass(frozen=True, slots=True)
class JobShown:
    namespace: str
    name: str
    status: JobStatus


class Metrics:
    """jobs, queued, leads: asked at each scrape."""

    def __init__(
        self, jobs: Callable[[], Iterable[JobShown]], queued: Callable[[], int], leads: Callable[[], bool]
    ) -> None:
        self.registry = CollectorRegistry()
        self.rounds = Counter(
            f"{PREFIX}_rounds", "Rounds of jobs, by how they ended", ["outcome"], registry=self.registry
        )
        self.round_seconds = Histogram(
            f"{PREFIX}_round_seconds", "How long a round took", buckets=SECONDS, registry=self.registry
        )
        self.requests = Counter(
            f"{PREFIX}_api_requests",
            "Requests to the API server, watches aside",
            ["verb", "resource", "outcome"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            f"{PREFIX}_api_request_seconds",
            "How long they took, waiting for their turn included",
            ["verb"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.events_dropped = Counter(
            f"{PREFIX}_events_dropped", "Kubernetes Events that nobody will see", registry=self.registry
        )
        self.swept = Counter(f"{PREFIX}_etcd_sweeps", "Jobs whose keys were deleted", registry=self.registry)
        self.etcd_up = Gauge(f"{PREFIX}_etcd_up", "Whether etcd answered when last asked", registry=self.registry)
        built = Gauge(f"{PREFIX}_build_info", "Which version this is", ["version"], registry=self.registry)
        built.labels(VERSION).set(1)
        Gauge(f"{PREFIX}_queue_depth", "Jobs whose round is due", registry=self.registry).set_function(queued)
        Gauge(f"{PREFIX}_leader", "Whether this replica acts", registry=self.registry).set_function(
            lambda: float(leads())
        )
        self.registry.register(_Jobs(jobs))

    def request(self, verb: str, resource: str, outcome: str, seconds: float) -> None:
        self.requests.labels(verb, resource, outcome).inc()
        self.request_seconds.labels(verb).observe(seconds)


class _Jobs(Collector):
    """Gauges of every job, made from its status at the scrape."""

    def __init__(self, jobs: Callable[[], Iterable[JobShown]]) -> None:
        self._jobs = jobs

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        shown = list(self._jobs())
        phases: dict[str, int] = {}
        for job in shown:
            phases[job.status.phase] = phases.get(job.status.phase, 0) + 1
        by_phase = GaugeMetricFamily(f"{PREFIX}_jobs", "Jobs, by phase", labels=["phase"])
        for phase, count in sorted(phases.items()):
            by_phase.add_metric([phase], count)
        yield by_phase
        for name, (help_text, value) in _OF_A_JOB.items():
            family = GaugeMetricFamily(f"deepseek_job_{name}", help_text, labels=["namespace", "job"])
            for job in shown:
                number = value(job.status)
                if number is not None:
                    family.add_metric([job.namespace, job.name], number)
            yield family


def _progress(field: str) -> Callable[[JobStatus], float | None]:
    def read(status: JobStatus) -> float | None:
        value = None if status.progress is None else getattr(status.progress, field)
        return None if value is None else float(value)

    return read


def _guard(field: str) -> Callable[[JobStatus], float | None]:
    def read(status: JobStatus) -> float | None:
        guard = None if status.progress is None else status.progress.guard
        value = None if guard is None else getattr(guard, field)
        return None if value is None else float(value)

    return read


_OF_A_JOB: dict[str, tuple[str, Callable[[JobStatus], float | None]]] = {
    "step": ("Batches done", _progress("step")),
    "steps": ("Batches asked for", _progress("steps")),
    "loss": ("Training loss, as last told", _progress("loss")),
    "loss_limit": ("The greatest plausible loss of the next range", _guard("loss_limit")),
    "guard_anomalies": ("Implausible ranges since losses were last plausible for a while", _guard("anomalies")),
    "guard_held_ranges": ("Ranges whose update was held back", _guard("held")),
    "guard_learning_rate_factor": ("What the guard multiplies the learning rate by", _guard("learning_rate_factor")),
    "guard_roll_backs": ("Roll-backs that the guard has asked for", _guard("roll_backs")),
    "samples_per_second": ("Samples trained", _progress("samples_per_second")),
    "wire_bytes": ("Bytes at the sockets of all members", _progress("wire_bytes")),
    "dense_bytes": ("Bytes that dense FP32 both ways would have been", _progress("dense_bytes")),
    "samples_lost": ("Samples that were never applied", _progress("samples_lost")),
    "samples_repeated": ("Samples that were applied twice", _progress("samples_repeated")),
    "checkpoint_timestamp_seconds": ("When the newest checkpoint was complete", _progress("checkpoint_time")),
    "workers_ready": ("Workers at work", lambda status: status.workers.ready),
    "workers_desired": ("Workers asked for", lambda status: status.workers.desired),
    "servers_ready": ("Servers at work", lambda status: status.servers.ready),
    "servers_desired": ("Servers asked for", lambda status: status.servers.desired),
    "restarts": ("Members that were replaced after a failure", lambda status: status.restarts_total),
}
