"""From a job to what its members read: the config document, and the hash that says whether they must be replaced."""

import hashlib
import json
from typing import Any

from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.storage import job_named
from deepseek_operator.api.training import Compression, CompressionRule, Training
from deepseek_runtime.contract import config as contract
from deepseek_runtime.contract.config import JobConfig, Timing
from deepseek_runtime.contract.store import job_folder

LOCAL = "checkpoints"
"""In a state folder, where jobs of this machine keep theirs if they name no other place."""


def job_config(
    job: DeepseekJob,
    *,
    uid: str,
    generation: str,
    etcd: tuple[str, ...],
    etcd_tls: contract.EtcdTls | None = None,
    checkpoint_uri_default: str,
    code_dir: str | None = None,
    bind: str = "tcp://127.0.0.1:0",
    data_dir: str = "",
    install: str = "local",
    timing: Timing | None = None,
) -> JobConfig:
    """The config document of a job.

    etcd: host:port each; etcd_tls: where members have their certificates for it, None: it asks for none;
    checkpoint_uri_default: this job's own folder when the job names no storage, else ignored; code_dir: where members
    find the user's code; data_dir: a member's own folder that survives its process.
    """
    checkpoint = job.spec.checkpoint
    uri = checkpoint_uri(job, uid, checkpoint_uri_default)
    return JobConfig(
        install=install,
        namespace=job.namespace,
        job=job.name,
        uid=uid,
        generation=generation,
        etcd=etcd,
        etcd_tls=etcd_tls,
        bind=bind,
        data_dir=data_dir,
        workers=job.spec.workers.replicas,
        backup=job.spec.servers.backup,
        training=contract_training(job.spec.training, code_dir),
        checkpoint=contract.Checkpoint(
            uri=uri,
            every_steps=checkpoint.every_steps,
            keep=checkpoint.keep,
            restore_from=restored_from(checkpoint.restore_from, uri),
            storage_options=checkpoint.storage.options,
        ),
        timing=timing or Timing(),
    )


def checkpoint_uri(job: DeepseekJob, uid: str, default: str) -> str:
    """The job's own folder in the store it names: with its uid, for a new job of an old name shares no lineage."""
    uri = job.spec.checkpoint.storage.uri
    return default if uri is None else f"{uri.rstrip('/')}/{job_folder(job.namespace, job.name, uid)}"


def restored_from(named: str | None, own: str) -> str | None:
    """What `restoreFrom` names, as members find it: job://NAME is a folder beside their own.

    own: the job's folder, the last part of which is the only one that no other job has: its uid, or `checkpoints` in a
    state folder.
    """
    name = None if named is None else job_named(named)
    if name is None:
        return named
    folder, _, last = own.rpartition("/")
    beside = f"{folder.rpartition('/')[0]}/{name}"
    return f"{beside}/{LOCAL}" if last == LOCAL else beside


def contract_training(training: Training, code_dir: str | None = None) -> contract.Training:
    """`spec.training` with every default that depends on another field filled in."""
    gradient = training.update.mode == "gradient"
    update, staleness = training.update, training.staleness
    compression, precision, evaluation = training.compression, training.precision, training.evaluation
    scale = precision.loss_scale
    return contract.Training(
        task=training.task,
        script=training.script,
        code=code_dir,
        args=training.args,
        steps=training.steps,
        epochs=training.epochs,
        batch_size=training.batch_size,
        seed=training.seed,
        optimizer=_optimizer(training),
        update=contract.Update(
            mode=update.mode,
            local_steps=_or(update.local_steps, 1 if gradient else 8),
            momentum=_or(update.momentum, 0.9),
            outer_momentum=_or(update.outer_momentum, 0.0),
            look_ahead=_or(update.look_ahead, 2.0),
            weight=update.weight,
        ),
        staleness=contract.Staleness(
            mode=staleness.mode, max=1 if staleness.mode == "sync" else _or(staleness.max, 16)
        ),
        compression=contract.Compression(
            **_method(compression),
            momentum=_or(compression.momentum, 0.9),
            warmup_steps=_or(compression.warmup_steps, 0),
            publish_every=compression.publish_every,
            rules=tuple(contract.CompressionRule(match=rule.match, **_method(rule)) for rule in compression.rules),
        ),
        precision=contract.Precision(
            compute=precision.compute,
            loss_scale=contract.LossScale() if scale is None else contract.LossScale(**scale.model_dump()),
            masters=precision.masters,
        ),
        evaluation=contract.Evaluation(every_steps=evaluation.every_steps),
        guard=contract.Guard(**training.guard.model_dump()),
    )


def _method(given: Compression | CompressionRule) -> dict[str, Any]:
    return {
        "method": given.method,
        "ratio": _or(given.ratio, 0.05),
        "value_bits": _or(given.value_bits, 8 if given.method == "quantised" else 2),
        "rank": _or(given.rank, 4),
    }


_OF_A_MEMBER = {"backup", "resources", "pod"}


def intent_hash(job: DeepseekJob, code_digest: str = "") -> str:
    """16 hex digits over what makes members different: another value means that they are replaced.

    What is free to change (changes.py) does not enter, nor does where the code lies (its digest does), nor a default:
    a newer operator with more fields gives an old job the hash that it had.
    """
    training = contract_training(job.spec.training).model_dump(mode="json", exclude_defaults=True)
    for free in ("steps", "epochs", "evaluation"):
        training.pop(free, None)
    intent = {
        "training": training,
        "code": code_digest,
        "image": job.spec.image,
        "pods": {
            role: part.model_dump(
                mode="json", by_alias=True, exclude_defaults=True, include={"backup", "resources", "pod"}
            )
            for role, part in (("server", job.spec.servers), ("worker", job.spec.workers))
        },
    }
    mounted = job.spec.checkpoint.storage.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, include={"pvc", "secret"}
    )
    if mounted:
        intent["storage"] = mounted
    text = json.dumps(intent, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cluster_generation(job: DeepseekJob, code_digest: str = "") -> str:
    """16 hex digits over all that a running member was given: another value, and all drain and begin anew.

    `intent_hash`, and what is free to change but stands in the config document, where nothing changes while a member
    lives. Not the numbers of members.
    """
    training = contract_training(job.spec.training).model_dump(mode="json", exclude_defaults=True)
    given = {
        "intent": intent_hash(job, code_digest),
        "training": {name: training.get(name) for name in ("steps", "epochs", "evaluation") if name in training},
        "checkpoint": job.spec.checkpoint.model_dump(mode="json", by_alias=True, exclude_defaults=True),
    }
    text = json.dumps(given, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _optimizer(training: Training) -> contract.Optimizer | None:
    optimizer = training.optimizer
    if optimizer is None:
        return None if training.task is None else contract.Optimizer()
    first, second = optimizer.betas or (0.9, 0.999)
    return contract.Optimizer(
        name=optimizer.name,
        lr=optimizer.lr,
        momentum=_or(optimizer.momentum, 0.0),
        weight_decay=optimizer.weight_decay,
        betas=(first, second),
        schedule=optimizer.schedule,
        warmup_steps=optimizer.warmup_steps,
        clip_norm=optimizer.clip_norm,
    )


def _or(value: Any, default: Any) -> Any:
    """Not `or`: 0 is a value."""
    return default if value is None else value
