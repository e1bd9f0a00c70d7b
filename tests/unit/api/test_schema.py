"""The translator: what it makes of a model, and what it refuses. Each refusal is one that an API server made."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from deepseek_operator.api.fields import Quantity, Right, Section
from deepseek_operator.api.schema import OPEN, Schema, Untranslatable, structural
from deepseek_operator.api.validation import Validation


def schema_of(annotation: Any, default: Any = ...) -> Schema:
    """Of one field."""
    model = type("Model", (Section,), {"__annotations__": {"it": annotation}, "it": Field(default)})
    made = structural(model, {})
    found: Schema = made["properties"]["it"]
    return found


class Inner(Section):
    """Within."""

    count: int = 3
    """How many."""
    name: str | None = None
    """Its name."""


class One(Section):
    kind: Literal["one"] = "one"


class Two(Section):
    kind: Literal["two", "zwei"] = "two"


@pytest.mark.parametrize(
    "annotation,default,due",
    [
        (bool, False, {"type": "boolean", "default": False}),
        (int | None, None, {"type": "integer"}),
        (Annotated[int, Field(ge=1, le=9)], 2, {"type": "integer", "minimum": 1, "maximum": 9, "default": 2}),
        (Annotated[float, Field(ge=0.0, le=10.0)], 1.0, {"type": "number", "minimum": 0, "maximum": 10, "default": 1}),
        (Literal["a", "b"], "a", {"type": "string", "enum": ["a", "b"], "default": "a"}),
        (Literal[2, 16] | None, None, {"type": "integer", "enum": [2, 16]}),
        (dict[str, Any], {}, OPEN),
        (dict[str, int], ..., {"type": "object", "additionalProperties": {"type": "integer"}}),
        (tuple[int, ...], (), {"type": "array", "items": {"type": "integer"}}),
    ],
)
def test_types(annotation: Any, default: Any, due: Schema) -> None:
    assert schema_of(annotation, default) == due


def test_a_quantity_may_be_a_whole_number() -> None:
    made = schema_of(Quantity)
    assert made["x-kubernetes-int-or-string"] is True
    assert "type" not in made
    assert made["pattern"].startswith("^[0-9]+")


def test_a_mapping_has_its_default_in_full_without_what_is_absent() -> None:
    made = schema_of(Inner, Inner())
    assert made["default"] == {"count": 3}
    assert made["properties"]["count"] == {"type": "integer", "default": 3, "description": "How many."}
    assert made["description"] == "Within."


def test_a_default_that_says_nothing_is_none() -> None:
    class Outer(Section):
        names: list[str] = []  # noqa: RUF012 -- pydantic copies it
        inner: Inner = Inner()
        text: str = ""

    made = schema_of(Outer, Outer())
    assert made["default"] == {"inner": {"count": 3}}
    assert not [name for name in ("names", "text") if "default" in made["properties"][name]]


def test_items_of_a_list_have_no_defaults() -> None:
    made = schema_of(list[Inner], [Inner(count=4, name="x")])
    assert made["default"] == [{"count": 4, "name": "x"}]
    assert "default" not in made["items"]["properties"]["count"]


def test_a_pattern_becomes_a_rule_that_says_what_would_be_right() -> None:
    made = schema_of(Annotated[str, Field(pattern="^a+$", max_length=9), Right("some a")], "a")
    assert "pattern" not in made
    assert made["maxLength"] == 9
    (rule,) = made["x-kubernetes-validations"]
    assert rule["rule"] == 'self.matches("^a+$")'
    assert rule["message"] == "does not fit; right: some a"


def test_bounds_that_are_no_whole_numbers_become_a_rule() -> None:
    made = schema_of(Annotated[float, Field(ge=0.5, le=2.0)], 1.0)
    assert not {"minimum", "maximum"} & made.keys()
    (rule,) = made["x-kubernetes-validations"]
    assert rule["rule"] == "self >= 0.5 && self <= 2.0"
    assert rule["message"] == "is out of bounds; right: a number from 0.5 to 2"


def test_patterns_of_keys_become_a_rule() -> None:
    key = Annotated[str, Field(pattern="^k", max_length=5)]
    made = schema_of(dict[key, int])
    assert made["additionalProperties"] == {"type": "integer"}
    (rule,) = made["x-kubernetes-validations"]
    assert rule["rule"] == 'self.all(key, size(key) <= 5 && key.matches("^k"))'


def test_rules_of_a_mapping_stand_wherever_it_stands() -> None:
    class Outer(Section):
        first: Inner = Inner()
        second: Inner | None = None

    rule = Validation("self.count > 2", "is too small; right: 3", "count")
    made = structural(Outer, {Inner: [rule]})
    due = [{"fieldPath": ".count", "message": "is too small; right: 3", "reason": "FieldValueForbidden",
            "rule": "self.count > 2"}]  # fmt: skip
    assert made["properties"]["first"]["x-kubernetes-validations"] == due
    assert made["properties"]["second"]["x-kubernetes-validations"] == due


@pytest.mark.parametrize(
    "annotation,default",
    [
        pytest.param(Annotated[int, Field(gt=0)], 1, id="exclusiveMinimum"),
        pytest.param(Annotated[float, Field(lt=1.0)], 0.0, id="exclusiveMaximum"),
        pytest.param(Annotated[int, Field(multiple_of=2)], 2, id="multipleOf"),
        pytest.param(Literal["only"], "only", id="const"),
        pytest.param(int | str, 1, id="choice of types"),
        pytest.param(Annotated[One | Two, Field(discriminator="kind")], ..., id="discriminated union"),
        pytest.param(tuple[int, str], ..., id="tuple of two types"),
        pytest.param(set[int], ..., id="set"),
        pytest.param(int | None, 3, id="null that is not the default"),
        pytest.param(Annotated[str, Field(pattern="^a")], "a", id="pattern without words or length"),
        pytest.param(Annotated[float, Field(ge=0.0, le=1e30)], 1.0, id="bound beyond 64 bits"),
    ],
)
def test_what_a_crd_cannot_say_is_refused(annotation: Any, default: Any) -> None:
    with pytest.raises(Untranslatable):
        schema_of(annotation, default)


def test_unknown_keys_that_are_forbidden_cannot_be_said() -> None:
    class Closed(BaseModel, extra="forbid"):
        it: int = 1

    with pytest.raises(Untranslatable, match="additionalProperties"):
        structural(Closed, {})


def test_a_default_that_a_function_makes_would_be_lost() -> None:
    class Made(Section):
        it: list[int] = Field(default_factory=lambda: [1])

    with pytest.raises(Untranslatable, match="default_factory"):
        structural(Made, {})
