"""The CRD that lies in the repository; an API server judges it in tests/cluster/crd."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from builders.full_job import FULL
from builders.manifests import RIGHT
from deepseek_operator.api.crd import COLUMNS, CRD_FILE, TEMPLATE_FILE, files, main, template_text
from deepseek_operator.api.load import parse_manifest
from deepseek_operator.api.rules import CLUSTER_RULES, RULES
from deepseek_operator.api.section_rules import SECTION_RULES

ROOT = Path(__file__).parents[3]
CRD = yaml.safe_load((ROOT / CRD_FILE).read_text(encoding="utf-8"))
(VERSION,) = CRD["spec"]["versions"]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]


def test_the_files_are_as_the_models_are() -> None:
    for path, text in files().items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path}: run make crds"


def test_check_says_what_differs(tmp_path: Path, capsys: Any) -> None:
    assert main(["--check", str(tmp_path)]) == 1
    assert f"{CRD_FILE}, {TEMPLATE_FILE}; run make crds" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0


def test_the_chart_s_copy_says_the_same_and_is_kept() -> None:
    first, guard, unowned, *body, end = template_text().splitlines()
    assert first.startswith("#")
    assert (guard, end) == ("{{- if .Values.crds.enabled }}", "{{- end }}")
    assert unowned == '{{- include "dsj.crds.unowned" . }}'
    text = "\n".join(body)
    assert text.count("{{") == text.count('{{ "{{" }}')
    made = yaml.safe_load(text.replace('{{ "{{" }}', "{{"))
    assert made["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert made == CRD


def test_every_rule_is_in_it_once() -> None:
    rules = [rule["rule"] for rule in SCHEMA["properties"]["spec"]["x-kubernetes-validations"]]
    assert len(set(rules)) == len(rules)
    for rule in (*RULES, *CLUSTER_RULES):
        assert rule.cel in rules
    found = [rule["rule"] for rule in validations(SCHEMA)]
    for inside in SECTION_RULES:
        assert not inside.cel or inside.cel in found


def test_no_rule_reads_what_may_be_absent() -> None:
    """Without asking by has(): the API server refuses the object, with words that nobody understands."""
    assert list(unguarded(SCHEMA["properties"]["spec"])) == []


def unguarded(schema: dict[str, Any]) -> Iterator[str]:
    for said in schema.get("x-kubernetes-validations", []):
        for words in re.findall(r"\bself((?:\.\w+)+)", said["rule"]):
            node, read = schema, "self"
            for word in words[1:].split("."):
                field = node.get("properties", {}).get(word)
                if field is None:
                    break  # a function of CEL
                read += f".{word}"
                sure = word in node.get("required", []) or "default" in field
                if not sure and f"has({read})" not in said["rule"]:
                    yield f"{read} in {said['rule']}"
                node = field
    for inner in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from unguarded(inner)


def test_every_rule_says_what_would_be_right() -> None:
    for rule in validations(SCHEMA):
        said = rule.get("messageExpression", rule["message"])
        assert "right: " in said or "start a job of another name" in said, rule


def test_every_column_reads_a_field_that_there_is() -> None:
    for _, _, path, _, _ in COLUMNS:
        if path.startswith(".metadata"):
            continue
        here = SCHEMA
        for part in path.strip(".").split("."):
            here = here["properties"][part]


def test_nothing_empty_is_written_into_what_people_read() -> None:
    assert not [path for path, default in defaults(SCHEMA["properties"]["spec"]) if default in ("", [], {})]


def test_status_keeps_what_another_version_wrote() -> None:
    """The API server drops what the schema does not know, also of what it stored before."""
    status = SCHEMA["properties"]["status"]
    for schema in (status, status["properties"]["progress"], status["properties"]["recoveries"]["items"]):
        assert schema["x-kubernetes-preserve-unknown-fields"] is True


def test_scale_has_the_paths_of_the_workers() -> None:
    scale = VERSION["subresources"]["scale"]
    assert SCHEMA["properties"]["spec"]["properties"]["workers"]["properties"]["replicas"]["minimum"] == 1
    assert scale == {
        "specReplicasPath": ".spec.workers.replicas",
        "statusReplicasPath": ".status.workers.replicas",
        "labelSelectorPath": ".status.selector",
    }


def test_defaults_outside_of_lists_are_those_of_the_models() -> None:
    """As the API server fills them in: from above, each default a whole. What says nothing is not stored."""
    given = yaml.safe_load(RIGHT)["spec"]
    job = parse_manifest(RIGHT, "job.yaml", ROOT).job
    due = without_nothing(job.model_dump(mode="json", by_alias=True)["spec"])
    assert defaulted(given, SCHEMA["properties"]["spec"]) == due


def test_a_manifest_of_every_field_is_right_on_one_machine_too() -> None:
    code = "---\nkind: ConfigMap\nmetadata: {name: my-code}\ndata: {train.py: ''}\n"
    manifest = parse_manifest(FULL + code, "job.yaml", ROOT)
    assert "spec.checkpoint.storage.secret" in manifest.notes[0]
    given = yaml.safe_load(FULL)["spec"]
    missing = set(fields(SCHEMA["properties"]["spec"])) - set(given_fields(given))
    assert {path for path in missing if not path.startswith(("workers.", "servers.pod.affinity."))} == {
        "checkpoint.storage.pvc", "checkpoint.storage.pvc.claimName", "checkpoint.storage.pvc.subPath",
        "training.code.folder", "training.compression.momentum", "training.compression.rank",
        "training.compression.warmupSteps", "training.optimizer.betas", "training.steps", "training.task",
        "training.update.lookAhead", "training.update.momentum", "training.update.outerMomentum",
    }  # fmt: skip


def defaults(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in schema.get("properties", {}).items():
        if "default" in inner:
            yield f"{path}.{name}", inner["default"]
        yield from defaults(inner, f"{path}.{name}")


def fields(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        here = f"{path}.{name}".lstrip(".")
        yield here
        yield from fields(inner.get("items", inner), here)


def given_fields(value: Any, path: str = "") -> Iterator[str]:
    for item in value if isinstance(value, list) else [value]:
        for name, inner in item.items() if isinstance(item, dict) else ():
            here = f"{path}.{name}".lstrip(".")
            yield here
            yield from given_fields(inner, here)


def validations(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from schema.get("x-kubernetes-validations", ())
    for inner in schema.get("properties", {}).values():
        yield from validations(inner)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from validations(schema[key])


def defaulted(value: Any, schema: dict[str, Any]) -> Any:
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for name, inner in schema.get("properties", {}).items():
        if name not in filled and "default" in inner:
            filled[name] = inner["default"]
        if name in filled:
            filled[name] = defaulted(filled[name], inner)
    return filled


def without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        told = {key: without_nothing(item) for key, item in value.items()}
        return {key: item for key, item in told.items() if item is not None and item not in ("", [], {})}
    return value
