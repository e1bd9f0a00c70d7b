"""Bad manifests, at least one of each class: the whole message, its class and the exit code."""

# ruff: noqa: ISC004 -- a message is one string over several lines, the fourth of each case

from pathlib import Path
from typing import get_args

import pytest

from builders.manifests import HEAD, RIGHT, with_spec, with_training
from deepseek_operator.api.load import parse_manifest
from deepseek_operator.api.problems import Kind, ManifestError
from deepseek_operator.api.rules import RULES
from deepseek_runtime.contract.exit_codes import CONFIG

SEE = "docs/reference/manifests.md"
PAGE = Path(__file__).parents[3] / SEE

CASES: list[tuple[str, str, str, str]] = [
    # type
    (
        "quoted number", with_training('batchSize: "32"'), "type",
        'job.yaml:9: spec.training.batchSize: "32" is text because of its quotes; '
        "right: a whole number from 1 to 1000000",
    ),
    (
        "text for a number", with_training("batchSize: many"), "type",
        'job.yaml:9: spec.training.batchSize: "many" is text; right: a whole number from 1 to 1000000',
    ),
    (
        "fraction for a whole number", with_training("batchSize: 1.5"), "type",
        "job.yaml:9: spec.training.batchSize: 1.5 is not a whole number; right: a whole number from 1 to 1000000",
    ),
    (
        "exponent for a whole number", with_training("batchSize: 1e3"), "type",
        "job.yaml:9: spec.training.batchSize: 1000.0 is not a whole number (write 1000); "
        "right: a whole number from 1 to 1000000",
    ),
    (
        "yes for a number", with_training("seed: yes"), "type",
        "job.yaml:9: spec.training.seed: true is true or false; right: a whole number from 0 to 4294967295",
    ),
    (
        "number for text", RIGHT.replace("name: digits", "name: 123"), "type",
        "job.yaml:4: metadata.name: 123 is a whole number: put it in quotes; "
        "right: small letters, digits and '-', with a letter or digit at both ends",
    ),
    (
        "list for a mapping", with_training("staleness: [bounded]"), "type",
        "job.yaml:9: spec.training.staleness: is a list; right: a mapping with mode and max",
    ),
    (
        "mapping for a list", with_spec("workers:", "  pod: {env: {OMP_NUM_THREADS: x}}"), "type",
        "job.yaml:10: spec.workers.pod.env: is a mapping; right: a list, each item a mapping with name and value",
    ),
    (
        "not a choice", with_training("optimizer: {schedule: Cosine}"), "type",
        'job.yaml:9: spec.training.optimizer.schedule: "Cosine" is not known (did you mean cosine?); '
        "right: one of constant, cosine, linear",
    ),
    (
        "not a choice of numbers", with_training("compression: {valueBits: 4}"), "type",
        "job.yaml:9: spec.training.compression.valueBits: 4 is not known; right: one of 2, 16, 32",
    ),
    (
        "no task", RIGHT.replace("tasks.digits:Digits", "tasks.digits"), "type",
        'job.yaml:7: spec.training.task: "deepseek_runtime.tasks.digits" does not fit; '
        "right: module:Class, such as deepseek_runtime.tasks.digits:Digits",
    ),
    (
        "quantity", with_spec("workers:", "  resources:", "    limits: {memory: 4 GB}"), "type",
        'job.yaml:11: spec.workers.resources.limits.memory: "4 GB" does not fit; '
        "right: a quantity as Kubernetes writes it, such as 500m, 2 or 4Gi",
    ),
    (
        "key that is no text", with_training("args: {1: 2}"), "type",
        "job.yaml:9: spec.training.args: the key 1 is not text; right: put it in quotes",
    ),
    (
        "argument that is no name", with_training("args: {hidden-size: 2}"), "type",
        'job.yaml:9: spec.training.args.hidden-size: "hidden-size" cannot be a keyword argument; '
        "right: a Python name, such as hidden_size",
    ),
    (
        "key of a label", with_spec("workers:", "  pod:", "    labels: {a b: c}"), "type",
        'job.yaml:11: spec.workers.pod.labels["a b"]: the key "a b" does not fit; '
        "right: a key such as example.com/team",
    ),
    # range
    (
        "too small", with_spec("servers: {replicas: 0}"), "range",
        "job.yaml:9: spec.servers.replicas: 0 is too small; right: a whole number from 1 to 64",
    ),
    (
        "too large", with_training("compression: {ratio: 5}"), "range",
        "job.yaml:9: spec.training.compression.ratio: 5 is too large; right: a number from 0.000244140625 to 1",
    ),
    (
        "steps beyond all bounds", RIGHT.replace("steps: 100", "steps: 10000000000000"), "range",
        "job.yaml:8: spec.training.steps: 10000000000000 is too large; right: a whole number from 1 to 1000000000000",
    ),
    (
        "beyond 64 bits", with_training("seed: 99999999999999999999"), "range",
        'job.yaml:9: spec.training.seed: "99999999999999999999" does not fit 64 bits; '
        "right: a smaller number, or quotes around it",
    ),
    (
        "NaN", with_training("optimizer:", "  lr: .nan"), "range",
        "job.yaml:10: spec.training.optimizer.lr: .nan is not a finite number; right: a finite number",
    ),
    (
        "infinity", with_training("optimizer:", "  clipNorm: 1e999"), "range",
        "job.yaml:10: spec.training.optimizer.clipNorm: 1e999 is not a finite number; right: a finite number",
    ),
    (
        "length of a list", with_training("optimizer: {betas: [0.9]}"), "range",
        "job.yaml:9: spec.training.optimizer.betas: has 1 item; "
        "right: two numbers from 0 to below 1, such as [0.9, 0.999]",
    ),
    (
        "item of a list", with_training("optimizer:", "  betas:", "  - 0.9", "  - 1"), "range",
        "job.yaml:12: spec.training.optimizer.betas[1]: 1 is too large; right: a number from 0 to 0.999999",
    ),
    # unknown key
    (
        "snake case", with_training("batch_size: 32"), "unknown",
        "job.yaml:9: spec.training.batch_size: is not a known field; did you mean batchSize?",
    ),
    (
        "slip of the keyboard", with_training("optimiser: {lr: 1}"), "unknown",
        "job.yaml:9: spec.training.optimiser: is not a known field; did you mean optimizer?",
    ),
    (
        "right name, wrong place", with_spec("batchSize: 32"), "unknown",
        "job.yaml:9: spec.batchSize: is not a known field; did you mean spec.training.batchSize?",
    ),
    (
        "of another system", with_spec("checkpoint: {interval: 1}").replace("interval", "zeroStage"), "unknown",
        "job.yaml:9: spec.checkpoint.zeroStage: is not a known field; "
        "right: one of everySteps, keep, storage, restoreFrom",
    ),
    (
        "in a list", with_spec("servers: {pod: {env: [{nam: A}]}}"), "unknown",
        "job.yaml:9: spec.servers.pod.env[0].nam: is not a known field; did you mean name?",
    ),
    # fields that exclude each other
    (
        "task and script", with_training("script: train.py"), "exclusive",
        "job.yaml:9: spec.training.script: cannot stand beside task: the two exclude each other; "
        "right: one of task and script",
    ),
    (
        "steps and epochs", with_training("epochs: 3"), "exclusive",
        "job.yaml:9: spec.training.epochs: cannot stand beside steps: the two exclude each other; "
        "right: one of steps and epochs",
    ),
    (
        "ConfigMap and folder", with_training("code:", "  configMap: a", "  folder: b"), "exclusive",
        "job.yaml:11: spec.training.code.folder: cannot stand beside configMap: the two exclude each other; "
        "right: one of configMap and folder",
    ),
    # required
    (
        "no training", HEAD + "  suspend: false\n", "required",
        "job.yaml:5: spec.training: is missing; right: a mapping with task, script, code, args, steps, epochs, "
        "batchSize, seed, optimizer, update, staleness, compression, precision and evaluation",
    ),
    (
        "no end", RIGHT.replace("    steps: 100\n", ""), "required",
        "job.yaml:6: spec.training: has no end; right: one of steps and epochs",
    ),
    (
        "nothing to train", HEAD + "  training: {steps: 1}\n", "required",
        "job.yaml:6: spec.training: has no task or script; right: one of task and script",
    ),
    (
        "no value", with_training("batchSize:"), "required",
        "job.yaml:9: spec.training.batchSize: has no value; "
        "right: a whole number from 1 to 1000000, or leave the line out",
    ),
    (
        "no name", RIGHT.replace("  name: digits", "  namespace: digits"), "required",
        "job.yaml:3: metadata.name: is missing; "
        "right: small letters, digits and '-', with a letter or digit at both ends",
    ),
    (
        "empty code", with_training("code: {}"), "required",
        "job.yaml:9: spec.training.code: names no place; right: one of configMap and folder",
    ),
    # names
    (
        "too long", RIGHT.replace("name: digits", "name: " + "d" * 46), "name",
        f'job.yaml:4: metadata.name: "{"d" * 46}" has 46 characters: the longest member, <job>-worker-1023-99999, must '
        "fit the 63 characters of Kubernetes; right: at most 45 characters",
    ),
    (
        "not DNS", RIGHT.replace("name: digits", "name: My_Job"), "name",
        'job.yaml:4: metadata.name: "My_Job" is no name for Kubernetes; '
        "right: small letters, digits and '-', with a letter or digit at both ends",
    ),
    # unreadable YAML
    (
        "two colons", RIGHT + "    script: a: b\n", "yaml",
        "job.yaml:9: cannot be read as YAML, column 14: mapping values are not allowed here; "
        "right: keys of one mapping equally far in, and quotes around a value that holds ': '",
    ),
    (
        "tab", RIGHT + "\tseed: 1\n", "yaml",
        "job.yaml:9: cannot be read as YAML, column 1: while scanning for the next token found character '\\t' that "
        "cannot start any token; right: indent with spaces: YAML forbids tabs",
    ),
    (
        "open bracket", with_training("args: {width: 3"), "yaml",
        "job.yaml:10: cannot be read as YAML, column 1: while parsing a flow mapping expected ',' or '}', but got "
        "'<stream end>'; right: a closing bracket, and commas between the items",
    ),
    (
        "anchor in itself", with_training("args: &a {again: *a}"), "yaml",
        "job.yaml:9: spec.training.args.again: is an anchor that contains itself; right: a plain value",
    ),
    (
        "given twice", with_training("seed: 1", "seed: 2"), "duplicate",
        "job.yaml:10: spec.training.seed: is given twice; the first stands in line 9; right: keep one of the two",
    ),
    # documents
    (
        "another version", RIGHT.replace("v1alpha1", "v1"), "document",
        'job.yaml:1: apiVersion: "deepseek.dev/v1" is not known; right: deepseek.dev/v1alpha1',
    ),
    (
        "kind misspelt", RIGHT.replace("DeepseekJob", "DeepSeekJob"), "document",
        'job.yaml:2: kind: "DeepSeekJob" is not known; right: DeepseekJob',
    ),
    (
        "two jobs", RIGHT + "---\n" + RIGHT.replace("digits", "other"), "document",
        "job.yaml:10: the file holds 2 DeepseekJobs: digits, other; right: one job a file",
    ),
    (
        "no job", "kind: ConfigMap\nmetadata: {name: a}\ndata: {}\n---\nkind: Secret\n", "document",
        "job.yaml:1: holds no DeepseekJob but Secret in line 5, the ConfigMap a; right: kind: DeepseekJob",
    ),
    ("empty", "# nothing\n", "document", "job.yaml:1: holds no DeepseekJob but nothing; right: kind: DeepseekJob"),
    ("no mapping", "- a\n- b\n", "document", "job.yaml:1: the document is a list; right: a mapping"),
    # wrong URI scheme
    (
        "unknown scheme", with_spec("checkpoint: {storage: {uri: s4://bucket/a}}"), "scheme",
        'job.yaml:9: spec.checkpoint.storage.uri: "s4://bucket/a": the scheme s4 is not known; did you mean s3?; '
        "right: a folder, or a URI such as file:///folder, s3://bucket/folder or gs://bucket/folder",
    ),
    (
        "memory", with_spec("checkpoint: {storage: {uri: memory://a}}"), "scheme",
        'job.yaml:9: spec.checkpoint.storage.uri: "memory://a": memory lives in the memory of one process, and the '
        "others would not see it; right: a folder, or a URI such as file:///folder, s3://bucket/folder or "
        "gs://bucket/folder",
    ),
    (
        "read only", with_spec("checkpoint: {restoreFrom: 'https://host/a'}"), "scheme",
        'job.yaml:9: spec.checkpoint.restoreFrom: "https://host/a": https can be read but not written; '
        "right: a folder, or a URI such as file:///folder, s3://bucket/folder or gs://bucket/folder",
    ),
    (
        "two slashes", with_spec("checkpoint: {storage: {uri: file://folder}}"), "scheme",
        "job.yaml:9: spec.checkpoint.storage.uri: \"file://folder\": names a host between '//' and the path; "
        "right: file:/// and the path, or the bare path",
    ),
    # combinations
    (
        "gradient and adam", with_training("optimizer: {name: adam}", "update: {mode: gradient}"), "combination",
        "job.yaml:10: spec.training.update.mode: gradient does not go with adam: at the servers it would step along "
        "stale, compressed gradients, and its second moment forgives neither (measured loss 2.09 where 0.99 was due); "
        "right: optimizer.name: sgd, or update.mode: local, where the workers run the optimizer "
        f"(see {SEE}#gradient-and-adam)",
    ),
    (
        "gradient and the default", with_training("update: {mode: gradient}"), "combination",
        "job.yaml:9: spec.training.update.mode: gradient does not go with adamw, the default: at the servers it would "
        "step along stale, compressed gradients, and its second moment forgives neither (measured loss 2.09 where 0.99 "
        "was due); right: optimizer.name: sgd, or update.mode: local, where the workers run the optimizer "
        f"(see {SEE}#gradient-and-adam)",
    ),
    (
        "gradient and local steps",
        with_training("optimizer: {name: sgd}", "update: {mode: gradient, localSteps: 8}"), "combination",
        "job.yaml:10: spec.training.update.localSteps: 8 local steps do not go with mode gradient: it pushes each "
        f"batch's gradient; right: localSteps: 1, or mode: local (see {SEE}#gradient-and-local-steps)",
    ),
    (
        "gradient and the optimizer's momentum",
        with_training("optimizer: {name: sgd, momentum: 0.9}", "update: {mode: gradient}"), "combination",
        "job.yaml:9: spec.training.optimizer.momentum: in mode gradient the momentum is the servers'; "
        f"right: training.update.momentum (see {SEE}#gradient-and-optimizer-momentum)",
    ),
    (
        "gradient and decay",
        with_training("optimizer: {name: sgd, weightDecay: 0.01}", "update: {mode: gradient}"), "combination",
        "job.yaml:9: spec.training.optimizer.weightDecay: has no effect in mode gradient, where the servers' rule is "
        f"SGD without decay; right: a term in the loss, or mode: local (see {SEE}#gradient-and-weight-decay)",
    ),
    (
        "outer momentum", with_training("update: {momentum: 0.9}"), "combination",
        "job.yaml:9: spec.training.update.momentum: 0.9 does not go with mode local: staleness already acts as "
        "momentum, and a second one ruins the result (measured loss 2.63 where 1.24 was due); right: no "
        "update.momentum (optimizer.momentum is the workers' own), or mode: gradient "
        f"(see {SEE}#local-and-outer-momentum)",
    ),
    (
        "bits of nothing", with_training("compression: {method: none, valueBits: 2}"), "combination",
        "job.yaml:9: spec.training.compression.valueBits: has no meaning with method none, which sends all values as "
        "they are; right: leave it out, or method: topk",
    ),
    (
        "ratio of nothing", with_training("compression: {method: none, ratio: 0.1}"), "combination",
        "job.yaml:9: spec.training.compression.ratio: has no meaning with method none, which sends all values as "
        "they are; right: leave it out, or method: topk",
    ),
    (
        "bound of async", with_training("staleness: {mode: async, max: 4}"), "combination",
        "job.yaml:9: spec.training.staleness.max: has no meaning in mode async, which has no bound; "
        "right: no max, or mode: bounded",
    ),
    (
        "bound of sync", with_training("staleness: {mode: sync, max: 4}"), "combination",
        "job.yaml:9: spec.training.staleness.max: 4 does not go with mode sync, whose bound is 1; "
        "right: no max, or mode: bounded",
    ),
    (
        "loss scale", with_training("precision: {compute: bfloat16, lossScale: {init: 8}}"), "combination",
        "job.yaml:9: spec.training.precision.lossScale: has no meaning with compute bfloat16, whose small gradients do "
        "not vanish; right: leave it out, or compute: float16",
    ),
    (
        "momentum of adamw", with_training("optimizer: {momentum: 0.9}"), "combination",
        "job.yaml:9: spec.training.optimizer.momentum: adamw has no momentum: its first beta is what plays that part; "
        "right: betas, or optimizer.name: sgd",
    ),
    (
        "betas of sgd", with_training("optimizer: {name: sgd, betas: [0.9, 0.99]}"), "combination",
        "job.yaml:9: spec.training.optimizer.betas: sgd has no betas; right: momentum, or optimizer.name: adamw",
    ),
    (
        "warm-up longer than the job", with_training("optimizer: {warmupSteps: 100}"), "combination",
        "job.yaml:9: spec.training.optimizer.warmupSteps: 100 is not below steps (100); "
        "right: a warm-up that ends before the job does",
    ),
    (
        "min above max", with_spec("workers: {replicas: 2, min: 3, max: 1}"), "combination",
        "job.yaml:9: spec.workers.min: 3 is more than max (1); right: min no larger than max",
    ),
    (
        "replicas above max", with_spec("workers: {replicas: 9, max: 8}"), "combination",
        "job.yaml:9: spec.workers.replicas: 9 is not between min (1) and max (8); "
        "right: a number of workers within the bounds, or other bounds",
    ),
    (
        "replicas below min", with_spec("workers: {min: 2}"), "combination",
        "job.yaml:9: spec.workers.replicas: 1 is not between min (2) and max (none); "
        "right: a number of workers within the bounds, or other bounds",
    ),
    (
        "our label", with_spec("workers: {pod: {labels: {deepseek.dev/job: x}}}"), "combination",
        'job.yaml:9: spec.workers.pod.labels["deepseek.dev/job"]: is the operator\'s own; right: another prefix',
    ),
    (
        "our environment", with_spec("servers: {pod: {env: [{name: DSJ_ROLE}]}}"), "combination",
        'job.yaml:9: spec.servers.pod.env[0].name: "DSJ_ROLE" is the operator\'s own; right: a name without DSJ_',
    ),
]  # fmt: skip


@pytest.mark.parametrize("text,kind,message", [pytest.param(*case[1:], id=case[0].replace(" ", "-")) for case in CASES])
def test_one_mistake_gives_one_message(text: str, kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(text, "job.yaml", tmp_path)
    assert str(caught.value) == message
    (problem,) = caught.value.problems
    assert problem.kind == kind
    assert caught.value.exit_code == CONFIG


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
apiVersion: deepseek.dev/v1alpha1
kind: DeepseekJob
metadata:
  name: Digits
spec:
  servers: {replicas: none}
  workers: {min: 3, max: 2, replicas: 0}
  training:
    script: gone.py
    batch_size: 32
    seed: 1
    seed: -1
    optimizer: {name: sgd, momentum: 2, betas: [0.9, 0.99]}
    compression: {method: none, ratio: 0.1}
  checkpoint:
    storage: {uri: "s4://a/b"}
    restoreFrom: nowhere
"""
    with pytest.raises(ManifestError) as caught:
        parse_manifest(text, "job.yaml", tmp_path)
    assert [(p.line, p.field, p.kind) for p in caught.value.problems] == [
        (4, "metadata.name", "name"),
        (6, "spec.servers.replicas", "type"),
        (7, "spec.workers.min", "combination"),
        (7, "spec.workers.replicas", "range"),
        (8, "spec.training", "required"),
        (9, "spec.training.script", "missing"),
        (10, "spec.training.batch_size", "unknown"),
        (12, "spec.training.seed", "duplicate"),
        (12, "spec.training.seed", "range"),
        (13, "spec.training.optimizer.momentum", "range"),
        (13, "spec.training.optimizer.betas", "combination"),
        (14, "spec.training.compression.ratio", "combination"),
        (16, "spec.checkpoint.storage.uri", "scheme"),
        (17, "spec.checkpoint.restoreFrom", "missing"),
    ]
    assert caught.value.exit_code == CONFIG


def test_every_class_of_problem_has_a_case_and_a_line_in_the_reference() -> None:
    page = PAGE.read_text(encoding="utf-8")
    kinds = {case[2] for case in CASES} | {"missing", "store"}
    assert kinds == set(get_args(Kind))
    for kind in kinds:
        assert f"| `{kind}` |" in page


def test_every_rule_that_joins_fields_has_a_case_and_each_link_leads_somewhere() -> None:
    page = PAGE.read_text(encoding="utf-8")
    headings = {line.removeprefix("### ").replace(" ", "-") for line in page.splitlines() if line.startswith("### ")}
    told = " ".join(case[3] for case in CASES)
    for rule in RULES:
        assert f" {rule.fields[0]}: " in told, f"no case for {rule.fields[0]}"
        assert not rule.see or rule.see in headings
