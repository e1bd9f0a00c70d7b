"""What may change in a running job."""

from pathlib import Path

import pytest

from builders.manifests import RIGHT, with_spec, with_training
from deepseek_operator.api.changes import change_kind
from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.load import parse_manifest


def job(text: str) -> DeepseekJob:
    return parse_manifest(text, "job.yaml", Path("/nowhere")).job


@pytest.mark.parametrize(
    "text,kind,fields",
    [
        (RIGHT, "none", ()),
        (with_training("batchSize: 32", "optimizer: {betas: [0.9, 0.999]}", "staleness: {max: 16}"), "none", ()),
        (with_spec("workers: {replicas: 2}"), "free", ("spec.workers.replicas",)),
        (with_spec("servers: {replicas: 2}"), "free", ("spec.servers.replicas",)),
        (with_spec("suspend: true"), "free", ("spec.suspend",)),
        (with_spec("checkpoint: {keep: 1}"), "free", ("spec.checkpoint.keep",)),
        (with_training("evaluation: {everySteps: 7}"), "free", ("spec.training.evaluation.everySteps",)),
        (RIGHT.replace("steps: 100", "steps: 101"), "free", ("spec.training.steps",)),
        (with_spec("runPolicy: {ttlSecondsAfterFinished: 1}"), "free", ("spec.runPolicy.ttlSecondsAfterFinished",)),
        (
            with_spec("checkpoint: {storage: {pvc: {claimName: a}}}"),
            "roll",
            (
                "spec.checkpoint.storage.pvc.claimName",
                "spec.checkpoint.storage.pvc.subPath",
            ),
        ),
        (with_spec("image: x"), "roll", ("spec.image",)),
        (with_spec("image: x", "suspend: true"), "roll", ("spec.image",)),
        (with_spec("workers: {resources: {limits: {cpu: 1}}}"), "roll", ("spec.workers.resources.limits.cpu",)),
        (with_training("optimizer: {lr: 0.5}"), "roll", ("spec.training.optimizer.lr",)),
        (with_training("precision: {compute: bfloat16}"), "roll", ("spec.training.precision.compute",)),
        (with_training("args: {hidden_size: 2}"), "roll", ("spec.training.args.hidden_size",)),
        (with_training("compression: {ratio: 0.5}"), "roll", ("spec.training.compression.ratio",)),
        (RIGHT.replace("steps: 100", "steps: 99"), "refused", ("spec.training.steps",)),
        (RIGHT.replace("steps: 100", "epochs: 1"), "refused", ("spec.training.epochs", "spec.training.steps")),
        (with_training("seed: 1"), "refused", ("spec.training.seed",)),
        (with_training("batchSize: 1", "optimizer: {lr: 1}"), "refused", ("spec.training.batchSize",)),
        (with_training("update: {localSteps: 1}"), "refused", ("spec.training.update.localSteps",)),
        (with_training("compression: {method: none}"), "refused", ("spec.training.compression.method",)),
        (RIGHT.replace(":Digits", ":Other"), "refused", ("spec.training.task",)),
        (RIGHT.replace("name: digits", "name: other"), "refused", ("metadata.name",)),
    ],
)
def test_the_gravest_field_decides_and_is_named(text: str, kind: str, fields: tuple[str, ...]) -> None:
    change = change_kind(job(RIGHT), job(text))
    assert change.kind == kind
    assert change.fields == fields


def test_other_code_replaces_the_members_wherever_it_lies() -> None:
    assert change_kind(job(RIGHT), job(RIGHT), "a", "b").fields == ("spec.training.code",)
    assert change_kind(job(RIGHT), job(RIGHT), "a", "a").kind == "none"


def test_a_refusal_says_what_to_do_instead() -> None:
    assert change_kind(job(RIGHT), job(with_training("seed: 1"))).message == (
        "a running job cannot change spec.training.seed from 0 to 1: start a job of another name, with "
        "spec.checkpoint.restoreFrom if it should begin from this one's weights"
    )
