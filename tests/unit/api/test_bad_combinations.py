"""Rules that join fields: at least one bad manifest for each, and the whole message."""

# ruff: noqa: ISC004 -- a message is one string over several lines, the last of each case

from pathlib import Path

import pytest

from builders.manifests import HEAD, RIGHT, refused, with_spec, with_training
from deepseek_operator.api.problems import Kind
from deepseek_operator.api.rules import RULES

SEE = "docs/reference/manifests.md"
PAGE = Path(__file__).parents[3] / SEE

CASES: dict[Kind, list[tuple[str, str, str]]] = {
    "exclusive": [
        ("task and script", with_training("script: train.py"),
         "job.yaml:9: spec.training.script: cannot stand beside task: the two exclude each other; "
         "right: one of task and script"),
        ("steps and epochs", with_training("epochs: 3"),
         "job.yaml:9: spec.training.epochs: cannot stand beside steps: the two exclude each other; "
         "right: one of steps and epochs"),
        ("ConfigMap and folder", with_training("code:", "  configMap: a", "  folder: b"),
         "job.yaml:11: spec.training.code.folder: cannot stand beside configMap: the two exclude each other; "
         "right: one of configMap and folder"),
    ],
    "required": [
        ("no end", RIGHT.replace("    steps: 100\n", ""),
         "job.yaml:6: spec.training: has no end; right: one of steps and epochs"),
        ("nothing to train", HEAD + "  training: {steps: 1}\n",
         "job.yaml:6: spec.training: has no task or script; right: one of task and script"),
        ("empty code", with_training("code: {}"),
         "job.yaml:9: spec.training.code: names no place; right: one of configMap and folder"),
    ],
    "combination": [
        ("gradient and adam", with_training("optimizer: {name: adam}", "update: {mode: gradient}"),
         "job.yaml:10: spec.training.update.mode: gradient does not go with adam: at the servers it would step along "
         "stale, compressed gradients, and its second moment forgives neither (measured loss 2.09 where 0.99 was due); "
         "right: optimizer.name: sgd, or update.mode: local, where the workers run the optimizer "
         f"(see {SEE}#gradient-and-adam)"),
        ("gradient and the default", with_training("update: {mode: gradient}"),
         "job.yaml:9: spec.training.update.mode: gradient does not go with adamw, the default: at the servers it would "
         "step along stale, compressed gradients, and its second moment forgives neither (measured loss 2.09 where "
         "0.99 was due); right: optimizer.name: sgd, or update.mode: local, where the workers run the optimizer "
         f"(see {SEE}#gradient-and-adam)"),
        ("gradient and local steps",
         with_training("optimizer: {name: sgd}", "update: {mode: gradient, localSteps: 8}"),
         "job.yaml:10: spec.training.update.localSteps: 8 local steps do not go with mode gradient: it pushes each "
         f"batch's gradient; right: localSteps: 1, or mode: local (see {SEE}#gradient-and-local-steps)"),
        ("gradient and the optimizer's momentum",
         with_training("optimizer: {name: sgd, momentum: 0.9}", "update: {mode: gradient}"),
         "job.yaml:9: spec.training.optimizer.momentum: in mode gradient the momentum is the servers'; "
         f"right: training.update.momentum (see {SEE}#gradient-and-optimizer-momentum)"),
        ("gradient and decay",
         with_training("optimizer: {name: sgd, weightDecay: 0.01}", "update: {mode: gradient}"),
         "job.yaml:9: spec.training.optimizer.weightDecay: has no effect in mode gradient, where the servers' rule is "
         f"SGD without decay; right: a term in the loss, or mode: local (see {SEE}#gradient-and-weight-decay)"),
        ("outer momentum", with_training("update: {momentum: 0.9}"),
         "job.yaml:9: spec.training.update.momentum: 0.9 does not go with mode local: staleness already acts as "
         "momentum, and a second one ruins the result (measured loss 2.63 where 1.24 was due); right: no "
         "update.momentum (optimizer.momentum is the workers' own), or mode: gradient "
         f"(see {SEE}#local-and-outer-momentum)"),
        ("bits of nothing", with_training("compression: {method: none, valueBits: 2}"),
         "job.yaml:9: spec.training.compression.valueBits: has no meaning with method none, which sends all values as "
         "they are; right: leave it out, or method: topk"),
        ("ratio of nothing", with_training("compression: {method: none, ratio: 0.1}"),
         "job.yaml:9: spec.training.compression.ratio: has no meaning with method none, which sends all values as "
         "they are; right: leave it out, or method: topk"),
        ("bound of async", with_training("staleness: {mode: async, max: 4}"),
         "job.yaml:9: spec.training.staleness.max: has no meaning in mode async, which has no bound; "
         "right: no max, or mode: bounded"),
        ("bound of sync", with_training("staleness: {mode: sync, max: 4}"),
         "job.yaml:9: spec.training.staleness.max: 4 does not go with mode sync, whose bound is 1; "
         "right: no max, or mode: bounded"),
        ("loss scale", with_training("precision: {compute: bfloat16, lossScale: {init: 8}}"),
         "job.yaml:9: spec.training.precision.lossScale: has no meaning with compute bfloat16, whose small gradients "
         "do not vanish; right: leave it out, or compute: float16"),
        ("momentum of adamw", with_training("optimizer: {momentum: 0.9}"),
         "job.yaml:9: spec.training.optimizer.momentum: adamw has no momentum: its first beta is what plays that part; "
         "right: betas, or optimizer.name: sgd"),
        ("betas of sgd", with_training("optimizer: {name: sgd, betas: [0.9, 0.99]}"),
         "job.yaml:9: spec.training.optimizer.betas: sgd has no betas; right: momentum, or optimizer.name: adamw"),
        ("warm-up longer than the job", with_training("optimizer: {warmupSteps: 100}"),
         "job.yaml:9: spec.training.optimizer.warmupSteps: 100 is not below steps (100); "
         "right: a warm-up that ends before the job does"),
        ("min above max", with_spec("workers: {replicas: 2, min: 3, max: 1}"),
         "job.yaml:9: spec.workers.min: 3 is more than max (1); right: min no larger than max"),
        ("replicas above max", with_spec("workers: {replicas: 9, max: 8}"),
         "job.yaml:9: spec.workers.replicas: 9 is not between min (1) and max (8); "
         "right: a number of workers within the bounds, or other bounds"),
        ("replicas below min", with_spec("workers: {min: 2}"),
         "job.yaml:9: spec.workers.replicas: 1 is not between min (2) and max (none); "
         "right: a number of workers within the bounds, or other bounds"),
        ("our label", with_spec("workers: {pod: {labels: {deepseek.dev/job: x}}}"),
         'job.yaml:9: spec.workers.pod.labels["deepseek.dev/job"]: is the operator\'s own; right: another prefix'),
        ("our environment", with_spec("servers: {pod: {env: [{name: DSJ_ROLE}]}}"),
         'job.yaml:9: spec.servers.pod.env[0].name: "DSJ_ROLE" is the operator\'s own; right: a name without DSJ_'),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    "kind,text,message",
    [
        pytest.param(kind, text, message, id=name.replace(" ", "-"))
        for kind, cases in CASES.items()
        for name, text, message in cases
    ],
)
def test_one_message_names_both_fields_and_what_would_be_right(
    kind: Kind, text: str, message: str, tmp_path: Path
) -> None:
    problem = refused(text, message, tmp_path)
    assert problem.kind == kind


def test_every_rule_that_joins_fields_has_a_case_and_each_link_leads_somewhere() -> None:
    page = PAGE.read_text(encoding="utf-8")
    headings = {line.removeprefix("### ").replace(" ", "-") for line in page.splitlines() if line.startswith("### ")}
    told = " ".join(message for cases in CASES.values() for _, _, message in cases)
    for rule in RULES:
        assert f" {rule.fields[0]}: " in told, f"no case for {rule.fields[0]}"
        assert not rule.see or rule.see in headings
