"""The resource DeepseekJob. One source for parsing, defaults, validation and reference docs (docs/reference/job.md).

A field that nothing reads yet is left out. Rules that join several fields stand in rules.py.
"""

# ruff: noqa: RUF012 -- pydantic copies defaults; ruff does not see that Section is a model

from typing import Annotated, Any, Literal

from pydantic import Field

from deepseek_operator.api.fields import MAX_SECONDS, DnsLabel, ObjectName, Right, Section, Steps
from deepseek_operator.api.pods import Pod, Resources
from deepseek_operator.api.training import Training
from deepseek_runtime.contract.names import API_VERSION, KIND, MAX_NAME, Member, member_name

MAX_SERVERS = 64
"""The parameter space is cut into at most 64 spans, and a server without one would idle."""
MAX_WORKERS = 1024
LONGEST_MEMBER = Member("worker", MAX_WORKERS - 1, 99_999)
MAX_JOB_NAME = MAX_NAME - len(member_name("", LONGEST_MEMBER))
"""45: pods are called `<job>-<role>-<index>-<incarnation>`, and names and labels of pods end at 63 characters."""

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
    """How many; may change while the job trains on."""
    backup: bool = False
    """Each server's part of the weights is also held by the next one: a server that is lost costs no push and no
    step, where all would go back to the newest checkpoint. Costs each push's bytes once more between servers, and as
    much memory again. Needs at least 2 servers."""
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


class Claim(Section):
    """A PersistentVolumeClaim of the job's namespace that all servers can mount: ReadWriteMany, or all on one node."""

    claim_name: ObjectName
    """The claim's name."""
    sub_path: Annotated[str, Field(max_length=1024), Right("a folder inside the volume, such as jobs/digits")] = ""
    """A folder inside its volume; empty: the root. The job makes a folder of its own in it."""


class Storage(Section):
    """Where checkpoints go; at most one of `uri` and `pvc`. Neither: on one machine the job's state folder, in a
    cluster the store that came with the operator."""

    uri: (
        Annotated[
            str,
            Field(min_length=1, max_length=2048),
            Right("a folder or an fsspec URI, such as s3://bucket/folder"),
        ]
        | None
    ) = None
    """A folder (relative to the manifest) or an fsspec URI that all servers reach; the job makes a folder of its own in
    it. In a cluster a URI that every pod reaches."""
    pvc: Claim | None = None
    """A volume that all members mount. Ignored on one machine."""
    secret: ObjectName | None = None
    """With `uri`: a Secret of the job's namespace whose keys become variables of the members' environment, such as
    AWS_ACCESS_KEY_ID. Ignored on one machine, where they stand in yours."""
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
            Right("job://NAME, a folder or URI of another job's checkpoints, or one index.json in it"),
        ]
        | None
    ) = None
    """`job://NAME`: the newest checkpoint of the job of that name (of several, of the one that saved last) in the same
    namespace and the same storage; it may run, have ended or be deleted. Or a folder or URI of another job's
    checkpoints, or one `index.json` in it. Absent: begin anew."""


class RunPolicy(Section):
    """When a job is given up, and what is left of one that has ended."""

    active_deadline_seconds: Annotated[int, Field(ge=1, le=MAX_SECONDS)] | None = None
    """Seconds after its start at which the job fails; absent: never."""
    backoff_limit: Annotated[int, Field(ge=0, le=100_000)] = 6
    """How often members may be lost until the job fails; those lost together, within 10 s and for one cause, count
    once. Refilled whenever `checkpoint.everySteps` steps were done."""
    clean_pod_policy: Literal["Running", "All", "None"] = "Running"
    """Which pods are deleted when the job has ended. `Running`: those that still run, so the logs of the others stay;
    `All`: all; `None`: none. Ignored on one machine."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=MAX_SECONDS)] | None = None
    """Seconds after its end at which the job is deleted with all that belongs to it, checkpoints aside; absent: never.
    Ignored on one machine."""


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
    """When a job is given up, and what is left of one that has ended."""


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
            ("spec.checkpoint.storage.pvc", spec.checkpoint.storage.pvc is not None),
            ("spec.checkpoint.storage.secret", spec.checkpoint.storage.secret is not None),
            ("spec.runPolicy.cleanPodPolicy", spec.run_policy.clean_pod_policy != "Running"),
            ("spec.runPolicy.ttlSecondsAfterFinished", spec.run_policy.ttl_seconds_after_finished is not None),
        )
        if is_set
    )
