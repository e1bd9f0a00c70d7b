"""The resource DeepseekJob. One source for parsing, defaults, validation and reference docs (docs/reference/job.md).

A field that nothing reads yet is left out. Rules that join several fields stand in rules.py.
"""

# ruff: noqa: RUF012 -- pydantic copies defaults; ruff does not see that Section is a model

from typing import Annotated, Any

from pydantic import Field

from deepseek_operator.api.fields import MAX_SECONDS, Right, Section, Steps
from deepseek_operator.api.pods import Pod, Resources
from deepseek_operator.api.training import Training
from deepseek_runtime.contract.names import API_VERSION, KIND, MAX_NAME, Member, member_name

MAX_SERVERS = 64
"""The parameter space is cut into at most 64 spans, and a server without one would idle."""
MAX_WORKERS = 1024
LONGEST_MEMBER = Member("worker", MAX_WORKERS - 1, 99_999)
MAX_JOB_NAME = MAX_NAME - len(member_name("", LONGEST_MEMBER))
"""45: pods are called `<job>-<role>-<index>-<incarnation>`, and names and labels of pods end at 63 characters."""

DnsLabel = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"),
    Right("small letters, digits and '-', with a letter or digit at both ends"),
]
ServerCount = Annotated[int, Field(ge=1, le=MAX_SERVERS)]
WorkerCount = Annotated[int, Field(ge=1, le=MAX_WORKERS)]


_APPLIED_TO_SCRIPTS = ("schedule", "warmupSteps", "clipNorm")


class Metadata(Section):
    """Name and labels. What else Kubernetes keeps here is left to it."""

    name: Annotated[DnsLabel, Field(max_length=MAX_JOB_NAME)]
    """The job's name, at most 45 characters: members are called `<job>-worker-<index>-<incarnation>`, and that must fit
    the 63 characters of Kubernetes."""
    namespace: Annotated[DnsLabel, Field(max_length=MAX_NAME)] = "default"
    """Its namespace."""
    labels: dict[str, str] = {}
    """Labels of the resource itself."""
    annotations: dict[str, str] = {}
    """Annotations of the resource itself."""


class Servers(Section):
    """The parameter servers: they hold the weights."""

    replicas: ServerCount = 1
    """How many."""
    resources: Resources = Resources()
    """What each asks of its node. Ignored on one machine."""
    pod: Pod = Pod()
    """What may be set in their pods. Ignored on one machine."""


class Workers(Section):
    """The workers: they train."""

    replicas: WorkerCount = 1
    """How many are asked for, between `min` and `max`."""
    min: WorkerCount = 1
    """Below this many the job trains on and says Degraded."""
    max: WorkerCount | None = None
    """Never more than this; absent: no bound of the job's own."""
    resources: Resources = Resources()
    """What each asks of its node. Ignored on one machine."""
    pod: Pod = Pod()
    """What may be set in their pods. Ignored on one machine."""


class Storage(Section):
    """Where checkpoints go."""

    uri: (
        Annotated[
            str,
            Field(min_length=1, max_length=2048),
            Right("a folder or an fsspec URI, such as s3://bucket/folder"),
        ]
        | None
    ) = None
    """A folder (relative to the manifest) or an fsspec URI that all servers reach; the job makes a folder of its own in
    it. Absent, on one machine: the job's state folder."""
    options: dict[str, Any] = {}
    """Keyword arguments of the fsspec file system, such as `endpoint_url`."""


class Checkpoint(Section):
    """When the state is saved, where, and what the job begins from."""

    every_steps: Steps = 1000
    """Steps between two checkpoints. A lost server takes all back to the newest."""
    keep: Annotated[int, Field(ge=1, le=100_000)] = 3
    """How many of the newest are kept."""
    storage: Storage = Storage()
    """Where they go."""
    restore_from: (
        Annotated[
            str,
            Field(min_length=1, max_length=2048),
            Right("a folder or URI of another job's checkpoints, or one index.json in it"),
        ]
        | None
    ) = None
    """A folder or URI of another job's checkpoints, or one `index.json` in it; absent: begin anew."""


class RunPolicy(Section):
    """When a job is given up."""

    active_deadline_seconds: Annotated[int, Field(ge=1, le=MAX_SECONDS)] | None = None
    """Seconds after its start at which the job fails; absent: never."""
    backoff_limit: Annotated[int, Field(ge=0, le=100_000)] = 6
    """Restarts of members until the job fails; refilled whenever `checkpoint.everySteps` steps were done."""


class JobSpec(Section):
    """What the user asks for."""

    suspend: bool = False
    """True: the job drains, writes a checkpoint and waits."""
    image: Annotated[str, Field(min_length=1, max_length=1024), Right("a container image")] | None = None
    """The image of the members. Ignored on one machine."""
    servers: Servers = Servers()
    """The parameter servers."""
    workers: Workers = Workers()
    """The workers."""
    training: Training
    """What is trained, and how its updates travel."""
    checkpoint: Checkpoint = Checkpoint()
    """When the state is saved, where, and what the job begins from."""
    run_policy: RunPolicy = RunPolicy()
    """When a job is given up."""


class DeepseekJob(Section):
    """A training job on parameter servers and workers."""

    api_version: Annotated[str, Right(API_VERSION)] = API_VERSION
    """`deepseek.dev/v1alpha1`."""
    kind: Annotated[str, Right(KIND)] = KIND
    """`DeepseekJob`."""
    metadata: Metadata
    """Name, namespace, labels."""
    spec: JobSpec
    """What the user asks for."""

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace


def not_used_by_a_script(job: DeepseekJob) -> tuple[str, ...]:
    """Paths of optimizer fields that are set beside a script whose own optimizer steps."""
    training = job.spec.training
    if training.script is None or training.optimizer is None or training.update.mode == "gradient":
        return ()
    given = training.optimizer.model_dump(by_alias=True, exclude_defaults=True)
    return tuple(f"spec.training.optimizer.{name}" for name in given if name not in _APPLIED_TO_SCRIPTS)


def ignored_on_one_machine(job: DeepseekJob) -> tuple[str, ...]:
    """Paths of fields that are set and that only a cluster reads, in the order of the manifest."""
    spec = job.spec
    return tuple(
        path
        for path, is_set in (
            ("spec.image", spec.image is not None),
            ("spec.servers.resources", spec.servers.resources != Resources()),
            ("spec.servers.pod", spec.servers.pod != Pod()),
            ("spec.workers.resources", spec.workers.resources != Resources()),
            ("spec.workers.pod", spec.workers.pod != Pod()),
        )
        if is_set
    )
