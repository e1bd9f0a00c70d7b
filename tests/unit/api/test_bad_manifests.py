"""Bad manifests, at least one of each class: the whole message, its class and the exit code.

Rules that join fields: test_bad_combinations.py.
"""

# ruff: noqa: ISC004 -- a message is one string over several lines, the last of each case

from pathlib import Path
from typing import get_args

import pytest

from builders.manifests import HEAD, RIGHT, refused, with_spec, with_training
from deepseek_operator.api.load import parse_manifest
from deepseek_operator.api.problems import Kind, ManifestError
from deepseek_runtime.contract.exit_codes import CONFIG

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "manifests.md"

CASES: dict[Kind, list[tuple[str, str, str]]] = {
    "type": [
        ("quoted number", with_training('batchSize: "32"'),
         'job.yaml:9: spec.training.batchSize: "32" is text because of its quotes; '
         "right: a whole number from 1 to 1000000"),
        ("text for a number", with_training("batchSize: many"),
         'job.yaml:9: spec.training.batchSize: "many" is text; right: a whole number from 1 to 1000000'),
        ("fraction for a whole number", with_training("batchSize: 1.5"),
         "job.yaml:9: spec.training.batchSize: 1.5 is not a whole number; right: a whole number from 1 to 1000000"),
        ("exponent for a whole number", with_training("batchSize: 1e3"),
         "job.yaml:9: spec.training.batchSize: 1000.0 is not a whole number (write 1000); "
         "right: a whole number from 1 to 1000000"),
        ("yes for a number", with_training("seed: yes"),
         "job.yaml:9: spec.training.seed: true is true or false; right: a whole number from 0 to 4294967295"),
        ("number for text", RIGHT.replace("name: digits", "name: 123"),
         "job.yaml:4: metadata.name: 123 is a whole number: put it in quotes; "
         "right: small letters, digits and '-', with a letter or digit at both ends"),
        ("list for a mapping", with_training("staleness: [bounded]"),
         "job.yaml:9: spec.training.staleness: is a list; right: a mapping with mode and max"),
        ("mapping for a list", with_spec("workers:", "  pod: {env: {OMP_NUM_THREADS: x}}"),
         "job.yaml:10: spec.workers.pod.env: is a mapping; right: a list, each item a mapping with name and value"),
        ("not a choice", with_training("optimizer: {schedule: Cosine}"),
         'job.yaml:9: spec.training.optimizer.schedule: "Cosine" is not known (did you mean cosine?); '
         "right: one of constant, cosine, linear"),
        ("not a choice of numbers", with_training("compression: {valueBits: 4}"),
         "job.yaml:9: spec.training.compression.valueBits: 4 is not known; right: one of 2, 16, 32"),
        ("no task", RIGHT.replace("tasks.digits:Digits", "tasks.digits"),
         'job.yaml:7: spec.training.task: "deepseek_runtime.tasks.digits" does not fit; '
         "right: module:Class, such as deepseek_runtime.tasks.digits:Digits"),
        ("quantity", with_spec("workers:", "  resources:", "    limits: {memory: 4 GB}"),
         'job.yaml:11: spec.workers.resources.limits.memory: "4 GB" does not fit; '
         "right: a quantity as Kubernetes writes it, such as 500m, 2 or 4Gi"),
        ("key that is no text", with_training("args: {1: 2}"),
         "job.yaml:9: spec.training.args: the key 1 is not text; right: put it in quotes"),
        ("argument that is no name", with_training("args: {hidden-size: 2}"),
         'job.yaml:9: spec.training.args.hidden-size: "hidden-size" cannot be a keyword argument; '
         "right: a Python name, such as hidden_size"),
        ("key of a label", with_spec("workers:", "  pod:", "    labels: {a b: c}"),
         'job.yaml:11: spec.workers.pod.labels["a b"]: the key "a b" does not fit; '
         "right: a key such as example.com/team"),
    ],
    "range": [
        ("too small", with_spec("servers: {replicas: 0}"),
         "job.yaml:9: spec.servers.replicas: 0 is too small; right: a whole number from 1 to 64"),
        ("too large", with_training("compression: {ratio: 5}"),
         "job.yaml:9: spec.training.compression.ratio: 5 is too large; right: a number from 0.000244140625 to 1"),
        ("steps beyond all bounds", RIGHT.replace("steps: 100", "steps: 10000000000000"),
         "job.yaml:8: spec.training.steps: 10000000000000 is too large; right: a whole number from 1 to 1000000000000"),
        ("beyond 64 bits", with_training("seed: 99999999999999999999"),
         'job.yaml:9: spec.training.seed: 99999999999999999999 does not fit 64 bits; '
         "right: a smaller number, or quotes around it"),
        ("NaN", with_training("optimizer:", "  lr: .nan"),
         "job.yaml:10: spec.training.optimizer.lr: .nan is not a finite number; right: a finite number"),
        ("infinity", with_training("optimizer:", "  clipNorm: 1e999"),
         "job.yaml:10: spec.training.optimizer.clipNorm: 1e999 is not a finite number; right: a finite number"),
        ("length of a list", with_training("optimizer: {betas: [0.9]}"),
         "job.yaml:9: spec.training.optimizer.betas: has 1 item; "
         "right: two numbers from 0 to below 1, such as [0.9, 0.999]"),
        ("item of a list", with_training("optimizer:", "  betas:", "  - 0.9", "  - 1"),
         "job.yaml:12: spec.training.optimizer.betas[1]: 1 is too large; right: a number from 0 to 0.999999"),
    ],
    "unknown": [
        ("snake case", with_training("batch_size: 32"),
         "job.yaml:9: spec.training.batch_size: is not a known field; did you mean batchSize?"),
        ("slip of the keyboard", with_training("optimiser: {lr: 1}"),
         "job.yaml:9: spec.training.optimiser: is not a known field; did you mean optimizer?"),
        ("right name, wrong place", with_spec("batchSize: 32"),
         "job.yaml:9: spec.batchSize: is not a known field; did you mean spec.training.batchSize?"),
        ("of another system", with_spec("checkpoint: {interval: 1}").replace("interval", "zeroStage"),
         "job.yaml:9: spec.checkpoint.zeroStage: is not a known field; "
         "right: one of everySteps, keep, storage, restoreFrom"),
        ("in a list", with_spec("servers: {pod: {env: [{nam: A}]}}"),
         "job.yaml:9: spec.servers.pod.env[0].nam: is not a known field; did you mean name?"),
    ],
    "required": [
        ("no training", HEAD + "  suspend: false\n",
         "job.yaml:5: spec.training: is missing; right: a mapping with task, script, code, args, steps, epochs, "
         "batchSize, seed, optimizer, update, staleness, compression, precision and evaluation"),
        ("no value", with_training("batchSize:"),
         "job.yaml:9: spec.training.batchSize: has no value; "
         "right: a whole number from 1 to 1000000, or leave the line out"),
        ("no name", RIGHT.replace("  name: digits", "  namespace: digits"),
         "job.yaml:3: metadata.name: is missing; "
         "right: small letters, digits and '-', with a letter or digit at both ends"),
    ],
    "name": [
        ("too long", RIGHT.replace("name: digits", "name: " + "d" * 46),
         f'job.yaml:4: metadata.name: "{"d" * 46}" has 46 characters: the longest member, <job>-worker-1023-99999, '
         "must fit the 63 characters of Kubernetes; right: at most 45 characters"),
        ("not DNS", RIGHT.replace("name: digits", "name: My_Job"),
         'job.yaml:4: metadata.name: "My_Job" is no name for Kubernetes; '
         "right: small letters, digits and '-', with a letter or digit at both ends"),
    ],
    "yaml": [
        ("two colons", RIGHT + "    script: a: b\n",
         "job.yaml:9: cannot be read as YAML, column 14: mapping values are not allowed here; "
         "right: keys of one mapping equally far in, and quotes around a value that holds ': '"),
        ("tab", RIGHT + "\tseed: 1\n",
         "job.yaml:9: cannot be read as YAML, column 1: while scanning for the next token found character '\\t' that "
         "cannot start any token; right: indent with spaces: YAML forbids tabs"),
        ("open bracket", with_training("args: {width: 3"),
         "job.yaml:10: cannot be read as YAML, column 1: while parsing a flow mapping expected ',' or '}', but got "
         "'<stream end>'; right: a closing bracket, and commas between the items"),
        ("anchor in itself", with_training("args: &a {again: *a}"),
         "job.yaml:9: spec.training.args.again: is an anchor that contains itself; right: a plain value"),
    ],
    "duplicate": [
        ("given twice", with_training("seed: 1", "seed: 2"),
         "job.yaml:10: spec.training.seed: is given twice; the first stands in line 9; right: keep one of the two"),
    ],
    "document": [
        ("another version", RIGHT.replace("v1alpha1", "v1"),
         'job.yaml:1: apiVersion: "deepseek.dev/v1" is not known; right: deepseek.dev/v1alpha1'),
        ("kind misspelt", RIGHT.replace("DeepseekJob", "DeepSeekJob"),
         'job.yaml:2: kind: "DeepSeekJob" is not known; right: DeepseekJob'),
        ("two jobs", RIGHT + "---\n" + RIGHT.replace("digits", "other"),
         "job.yaml:10: the file holds 2 DeepseekJobs: digits, other; right: one job a file"),
        ("no job", "kind: ConfigMap\nmetadata: {name: a}\ndata: {}\n---\nkind: Secret\n",
         "job.yaml:1: holds no DeepseekJob but Secret in line 5, the ConfigMap a; right: kind: DeepseekJob"),
        ("empty", "# nothing\n", "job.yaml:1: holds no DeepseekJob but nothing; right: kind: DeepseekJob"),
        ("no mapping", "- a\n- b\n", "job.yaml:1: the document is a list; right: a mapping"),
    ],
    "scheme": [
        ("unknown scheme", with_spec("checkpoint: {storage: {uri: s4://bucket/a}}"),
         'job.yaml:9: spec.checkpoint.storage.uri: "s4://bucket/a": the scheme s4 is not known; did you mean s3?; '
         "right: a folder, or a URI such as file:///folder, s3://bucket/folder or gs://bucket/folder"),
        ("memory", with_spec("checkpoint: {storage: {uri: memory://a}}"),
         'job.yaml:9: spec.checkpoint.storage.uri: "memory://a": memory lives in the memory of one process, and the '
         "others would not see it; right: a folder, or a URI such as file:///folder, s3://bucket/folder or "
         "gs://bucket/folder"),
        ("read only", with_spec("checkpoint: {restoreFrom: 'https://host/a'}"),
         'job.yaml:9: spec.checkpoint.restoreFrom: "https://host/a": https can be read but not written; '
         "right: a folder, or a URI such as file:///folder, s3://bucket/folder or gs://bucket/folder"),
        ("two slashes", with_spec("checkpoint: {storage: {uri: file://folder}}"),
         "job.yaml:9: spec.checkpoint.storage.uri: \"file://folder\": names a host between '//' and the path; "
         "right: file:/// and the path, or the bare path"),
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
def test_one_mistake_gives_one_message(kind: Kind, text: str, message: str, tmp_path: Path) -> None:
    problem = refused(text, message, tmp_path)
    assert problem.kind == kind


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
    kinds = CASES.keys() | {"combination", "exclusive", "missing", "store"}
    assert kinds == set(get_args(Kind))
    for kind in kinds:
        assert f"| `{kind}` |" in page
