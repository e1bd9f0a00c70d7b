"""The models as the CRD translator of the cluster will find them, and the pages that are made from them."""

import json
from pathlib import Path
from typing import Any

import pytest

from deepseek_operator.api.job import MAX_JOB_NAME, DeepseekJob
from deepseek_operator.api.load import load_manifest
from deepseek_operator.api.reference import reference
from deepseek_runtime.contract.names import MAX_NAME, Member, member_name

ROOT = Path(__file__).parents[3]
ALLOWED = {
    "$defs",
    "$ref",
    "additionalProperties",
    "anyOf",
    "default",
    "description",
    "enum",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "patternProperties",
    "properties",
    "propertyNames",
    "required",
    "title",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-right",
}


def schemas(value: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema, with where it stands; names of properties are no keywords."""
    found = [(path, value)]
    for key in ("items", "additionalProperties", "propertyNames"):
        if isinstance(value.get(key), dict):
            found += schemas(value[key], f"{path}/{key}")
    for key in ("properties", "$defs", "patternProperties"):
        for name, inner in value.get(key, {}).items():
            found += schemas(inner, f"{path}/{name}")
    for index, inner in enumerate(value.get("anyOf", [])):
        found += schemas(inner, f"{path}/{index}")
    return found


def test_the_models_use_only_what_a_crd_can_say() -> None:
    for path, schema in schemas(DeepseekJob.model_json_schema(by_alias=True)):
        assert set(schema) <= ALLOWED, path
        if "anyOf" in schema:
            assert len(schema["anyOf"]) == 2, path
            assert schema["anyOf"][1] == {"type": "null"}, path


def test_no_default_is_lost_in_the_schema() -> None:
    schema = DeepseekJob.model_json_schema(by_alias=True)
    for name, definition in schema["$defs"].items():
        for field, inner in definition["properties"].items():
            assert field in definition.get("required", []) or "default" in inner, f"{name}.{field}"


def test_every_field_has_a_description_and_is_spelt_in_camel_case() -> None:
    schema = DeepseekJob.model_json_schema(by_alias=True)
    for name, definition in schema["$defs"].items():
        for field, inner in definition["properties"].items():
            about = inner.get("description") or schema["$defs"][inner["$ref"].split("/")[-1]].get("description")
            assert about, f"{name}.{field}"
            assert "_" not in field


def test_the_longest_name_of_a_member_just_fits() -> None:
    assert len(member_name("a" * MAX_JOB_NAME, Member("worker", 1023, 99_999))) == MAX_NAME


def test_the_reference_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "reference" / "job.md").read_text(encoding="utf-8")
    assert page == reference(), "run: python -m deepseek_operator.api.reference > docs/reference/job.md"


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_right(path: Path) -> None:
    assert load_manifest(path).notes == ()


def test_the_models_are_json_through_and_through() -> None:
    job = load_manifest(ROOT / "examples" / "digits.yaml").job
    assert json.loads(job.model_dump_json(by_alias=True)) == job.model_dump(mode="json", by_alias=True)
