"""The config document that members read, and the hash that says when they are replaced."""

from pathlib import Path

import pytest

from builders.manifests import RIGHT, with_spec, with_training
from deepseek_operator.api.config import intent_hash, job_config
from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.load import parse_manifest
from deepseek_runtime.contract.config import JobConfig, LossScale, Optimizer


def job(text: str) -> DeepseekJob:
    return parse_manifest(text, "job.yaml", Path("/nowhere")).job


def config(text: str) -> JobConfig:
    return job_config(
        job(text),
        uid="u1",
        generation="g1",
        etcd=("127.0.0.1:2379",),
        checkpoint_uri_default="file:///state/checkpoints",
    )


def test_a_small_manifest_gets_the_defaults_of_the_design() -> None:
    made = config(RIGHT)
    assert (made.job, made.namespace, made.uid, made.generation) == ("digits", "default", "u1", "g1")
    assert made.training.optimizer == Optimizer()
    assert (made.training.update.mode, made.training.update.local_steps) == ("local", 8)
    assert (made.training.staleness.mode, made.training.staleness.max) == ("bounded", 16)
    assert (made.training.compression.ratio, made.training.compression.value_bits) == (0.05, 2)
    assert made.checkpoint.uri == "file:///state/checkpoints"


def test_every_field_of_training_arrives() -> None:
    made = config(
        with_training(
            "args: {width: 8}",
            "batchSize: 16",
            "seed: 3",
            "optimizer: {name: sgd, lr: 0.1, momentum: 0.5, weightDecay: 0.01,",
            "  schedule: linear, warmupSteps: 5, clipNorm: 2}",
            "update: {localSteps: 4, weight: one}",
            "staleness: {mode: bounded, max: 3}",
            "compression: {method: topk, ratio: 0.25, valueBits: 16}",
            "precision: {compute: float16, lossScale: {init: 8, growth: 4, backoff: 0.25, interval: 7}, masters: host}",
            "evaluation: {everySteps: 9}",
        )
    ).training
    assert made.args == {"width": 8}
    assert (made.batch_size, made.seed, made.steps, made.epochs) == (16, 3, 100, None)
    assert made.optimizer == Optimizer(
        name="sgd", lr=0.1, momentum=0.5, weight_decay=0.01, schedule="linear", warmup_steps=5, clip_norm=2
    )
    assert (made.update.local_steps, made.update.weight) == (4, "one")
    assert made.staleness.max == 3
    assert (made.compression.ratio, made.compression.value_bits) == (0.25, 16)
    assert made.precision.masters == "host"
    assert made.precision.loss_scale == LossScale(init=8, growth=4, backoff=0.25, interval=7)
    assert made.evaluation.every_steps == 9


def test_gradient_has_one_local_step_and_sync_a_bound_of_one() -> None:
    made = config(
        with_training("optimizer: {name: sgd}", "update: {mode: gradient, momentum: 0}", "staleness: {mode: sync}")
    ).training
    assert (made.update.local_steps, made.update.momentum, made.staleness.max) == (1, 0.0, 1)


def test_each_job_has_a_folder_of_its_own_in_a_store() -> None:
    made = config(with_spec("checkpoint: {storage: {uri: s3://bucket/a/, options: {anon: false}}, keep: 5}"))
    assert made.checkpoint.uri == "s3://bucket/a/default/digits/u1"
    assert made.checkpoint.storage_options == {"anon": False}
    assert made.checkpoint.keep == 5


def test_the_document_survives_json() -> None:
    made = config(with_training("args: {names: [a, b], rate: 0.5}"))
    assert JobConfig.model_validate_json(made.model_dump_json()) == made


FREE = [
    with_spec("workers: {replicas: 4, min: 2, max: 5}"),
    with_spec("servers: {replicas: 3}"),
    with_spec("suspend: true"),
    with_spec("checkpoint: {everySteps: 5, keep: 1}"),
    with_spec("runPolicy: {backoffLimit: 1}"),
    with_training("evaluation: {everySteps: 5}"),
    RIGHT.replace("steps: 100", "steps: 200"),
    with_training("batchSize: 32", "update: {localSteps: 8}", "optimizer: {name: adamw}"),
]
ROLLS = [
    with_spec("image: other"),
    with_spec("workers: {resources: {limits: {cpu: 2}}}"),
    with_spec("servers: {pod: {labels: {a: b}}}"),
    with_training("optimizer: {lr: 0.5}"),
    with_training("args: {width: 3}"),
    with_training("precision: {compute: bfloat16}"),
    with_spec("checkpoint: {storage: {pvc: {claimName: a}}}"),
    with_spec("checkpoint: {storage: {uri: 's3://a/b', secret: c}}"),
]


@pytest.mark.parametrize("text", FREE)
def test_what_is_free_to_change_is_not_in_the_hash_and_neither_is_a_default(text: str) -> None:
    assert intent_hash(job(text)) == intent_hash(job(RIGHT))


@pytest.mark.parametrize("text", ROLLS)
def test_what_makes_members_different_is_in_the_hash(text: str) -> None:
    assert intent_hash(job(text)) != intent_hash(job(RIGHT))


def test_the_code_is_in_the_hash_by_its_digest() -> None:
    assert intent_hash(job(RIGHT), "a") != intent_hash(job(RIGHT), "b")


def test_the_hash_is_the_same_in_every_process_and_version() -> None:
    assert intent_hash(job(RIGHT), "a") == "a8230b1a72b4e8ec"
