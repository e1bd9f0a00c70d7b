"""The config document: one JSON file a job and generation of intent, read-only, the same on a laptop and in a pod.

Nothing in it changes while a member lives. What moves (term, servers, live workers) is read from etcd only.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepseek_runtime.contract.names import STORAGE_FILE
from deepseek_runtime.contract.version import CONFIG_VERSION

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Optimizer(Section):
    name: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: float = 1e-3
    momentum: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    warmup_steps: Count = 0
    clip_norm: float | None = None
    """Global norm at which gradients are clipped in the worker; None: not clipped."""


class Update(Section):
    mode: Literal["local", "gradient"] = "local"
    local_steps: Positive = 8
    """Batches a range; 1 in `gradient`."""
    momentum: float = 0.9
    """`gradient` with sgd: of the server's delayed Nesterov rule."""
    outer_momentum: float = 0.0
    """`local`: of the server's delayed Nesterov rule; 0: the linear rule."""
    look_ahead: float = 2.0
    """`gradient` with adam or adamw: how far published weights look ahead, in times the others' pushes between a pull
    and its push."""
    weight: Literal["share", "one"] = "share"
    """w of a push: its share of one turn of all workers, or 1 (the test task `tally`)."""


class Staleness(Section):
    mode: Literal["async", "bounded", "sync"] = "bounded"
    max: Positive = 16


class CompressionMethod(Section):
    method: Literal["none", "topk", "quantised", "lowrank", "dgc"] = "topk"
    ratio: float = 0.05
    value_bits: Literal[1, 2, 3, 4, 8, 16, 32] = 2
    rank: Positive = 4


class CompressionRule(CompressionMethod):
    match: str
    """A pattern over tensors' names, `*` for anything; the first rule that matches counts."""


class Compression(CompressionMethod):
    rules: tuple[CompressionRule, ...] = ()
    publish_every: float = 0.0
    """Part of a turn of all workers between two publications of a span; 0: each push is published."""
    momentum: float = 0.9
    """`dgc` only: the workers'; the servers' rule has none then."""
    warmup_steps: Count = 0
    """`dgc` only: steps in which the ratio falls from 1/4 to its own."""


class LossScale(Section):
    init: float = 65536.0
    growth: float = 2.0
    backoff: float = 0.5
    interval: Positive = 2000


class Precision(Section):
    compute: Literal["float32", "bfloat16", "float16"] = "float32"
    loss_scale: LossScale = LossScale()
    masters: Literal["device", "host"] = "device"


class Guard(Section):
    """Loss calibration (guard/). Ranges are counted, not steps."""

    mode: Literal["off", "watch", "act"] = "off"
    """`watch`: events only; `act`: implausible ranges are held back, and more."""
    risk: float = 1e-6
    """False alarms a healthy range, of each test."""
    warmup_ranges: Positive = 32
    """Before anything is judged."""
    calm_ranges: Positive = 32
    """Plausible ranges in a row that end all precautions."""
    slow_after: Positive = 3
    slow_factor: float = 0.5
    roll_back_after: Positive = 16
    max_roll_backs: Count = 2


class Evaluation(Section):
    every_steps: Count = 0
    """0: only at the end."""


class Training(Section):
    task: str | None = None
    """`module:Class`; exactly one of task and script."""
    script: str | None = None
    code: str | None = None
    """Folder that is put on sys.path (and is the working folder of `script`)."""
    args: dict[str, Any] = {}
    steps: Positive | None = None
    epochs: Positive | None = None
    """Exactly one of steps and epochs; the chief turns epochs into steps when it knows the data set's length."""
    batch_size: Positive = 32
    seed: Count = 0
    optimizer: Optimizer | None = Optimizer()
    """None: the script brings its own."""
    update: Update = Update()
    staleness: Staleness = Staleness()
    compression: Compression = Compression()
    precision: Precision = Precision()
    evaluation: Evaluation = Evaluation()
    guard: Guard = Guard()


class Checkpoint(Section):
    uri: str
    """Where this job's checkpoints go: file:///..., memory is refused; any fsspec URI. The job's own folder."""
    every_steps: Positive = 1000
    keep: Positive = 3
    restore_from: str | None = None
    """A folder or URI of another job's checkpoints, or of those of all jobs of a name, or one index.json."""
    storage_options: dict[str, Any] = {}


class Timing(Section):
    """Seconds. The defaults are the contract's; tests shorten them."""

    heartbeat: float = 1.0
    worker_lost: float = 5.0
    registration_ttl: float = 10.0
    progress: float = 5.0
    moments: float = 60.0
    evaluator: float = 60.0
    residual: float = 10.0
    """End: how long workers that do not answer are waited for."""
    resend: float = 2.0
    """First wait before an unanswered push is sent again; doubles up to 5 times that."""


class EtcdTls(Section):
    """Files in PEM, relative to the folder of keys (DSJ_SECRETS); named as in a Kubernetes Secret of type tls."""

    ca: str = "ca.crt"
    """Who signed etcd's certificate."""
    certificate: str = "tls.crt"
    """The job's own; its CN is the job's uid."""
    key: str = "tls.key"


class JobConfig(Section):
    version: int = CONFIG_VERSION
    install: str = "local"
    namespace: str = "default"
    job: str
    uid: str
    generation: str = ""
    """Hash of the user's intent."""
    etcd: tuple[str, ...]
    """host:port of each etcd member."""
    etcd_tls: EtcdTls | None = None
    """None: etcd is spoken to in the clear, and knows nobody."""
    bind: str = "tcp://127.0.0.1:0"
    """Where a server listens; port 0 takes a free one and publishes it."""
    data_dir: str = ""
    """A folder of this member's own that survives its process (pushes.jsonl); empty: none."""
    keep_journals: bool = False
    """`data_dir` ends with its member: servers store their journals beside the checkpoints, and the chief counts."""
    workers: Positive = 1
    """As the user asked; only for defaults that depend on it, never for who is alive."""
    spans: Positive = 64
    backup: bool = False
    """Each span is also held by the next server: one that is lost costs no push. Nothing with a single server."""
    training: Training
    checkpoint: Checkpoint
    timing: Timing = Timing()


class ConfigError(Exception):
    """The config document is missing, unreadable, or of a version that this runtime does not know (exit 78)."""


def load_config(path: str | Path) -> JobConfig:
    """Reads a config document. Raises ConfigError with a message for people."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the config document {path}: {error.strerror}") from error
    try:
        config = JobConfig.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise ConfigError(f"config document {path}: {where}: {first['msg']}") from error
    if config.version > CONFIG_VERSION:
        raise ConfigError(
            f"config document {path} has version {config.version}; this runtime knows versions up to "
            f"{CONFIG_VERSION}: use a newer runtime image"
        )
    return config


def with_secret_options(config: JobConfig, secrets: str | Path) -> JobConfig:
    """The config with the storage options that lie beside the keys laid over its own. `secrets` empty: there are none.

    Raises ConfigError.
    """
    file = Path(secrets) / STORAGE_FILE
    if not secrets or not file.is_file():
        return config
    try:
        options = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the storage options in {file}: {error}") from error
    if not isinstance(options, dict):
        raise ConfigError(f"{file} holds no mapping of storage options")
    merged = {**config.checkpoint.storage_options, **options}
    return config.model_copy(update={"checkpoint": config.checkpoint.model_copy(update={"storage_options": merged})})
