"""From the models to structural schemas, as the API server takes them. An allow-list: what is unknown here is refused.

What pydantic emits and the API server does not take: null as a type (Optional), patterns of keys, `title`. Patterns
become CEL rules, whose message says in words what would be right. Defaults are written out in full at every level, for
the API server checks a default against the rules of its object before it fills in what is inside; items have none, and
what would be empty is none: people read what is stored.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema

from deepseek_operator.api.validation import Validation, filled, text

Schema = dict[str, Any]
Validations = Mapping[type[BaseModel], Iterable[Validation]]

OPEN: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
"""A mapping whose content is nobody's business here."""

_KEPT = frozenset({
    "default", "description", "enum", "format", "maxItems", "maxLength", "maxProperties", "maximum", "minItems",
    "minLength", "minimum", "required", "type", "x-kubernetes-list-map-keys", "x-kubernetes-list-type",
})  # fmt: skip
_BOUNDS = ("minimum", "maximum")
_TYPES = ("array", "boolean", "integer", "number", "object", "string")


class Untranslatable(Exception):
    """A model uses what a CRD cannot say; where, and what."""


def structural(model: type[BaseModel], validations: Validations) -> Schema:
    """The schema of a model, everything inside it included. validations: rules of mappings, by their models.

    Raises Untranslatable.
    """
    whole = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    definitions = whole.pop("$defs", {})
    rules = {of.__name__: [rule.manifest() for rule in found] for of, found in validations.items()}
    translator = _Translator(definitions, rules)
    return translator.named(model.__name__, whole, model.__name__)


class _Generator(GenerateJsonSchema):
    """Refuses what pydantic would leave out with a warning: a default that is made by a function is lost otherwise."""

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        if "default_factory" in schema:
            raise Untranslatable("a default_factory, whose default would be lost; write the value")
        return super().default_schema(schema)

    def handle_invalid_for_json_schema(self, schema: CoreSchema, error_info: str) -> JsonSchemaValue:
        raise Untranslatable(error_info)


class _Translator:
    def __init__(self, definitions: Mapping[str, Schema], rules: Mapping[str, list[Schema]]) -> None:
        self.definitions, self.rules = definitions, rules

    def named(self, name: str, schema: Schema, where: str) -> Schema:
        """A model by its name, with the rules that are its own."""
        made = self.any(schema, where)
        if self.rules.get(name):
            made["x-kubernetes-validations"] = [*made.get("x-kubernetes-validations", []), *self.rules[name]]
        return made

    def any(self, schema: Schema, where: str) -> Schema:
        """One schema and all inside it."""
        left = dict(schema)
        left.pop("title", None)
        made = self._inner(left, where)
        right = left.pop("x-right", "")
        if left.pop("x-kubernetes-int-or-string", False):
            left.pop("type", None)
            made |= {"x-kubernetes-int-or-string": True, "pattern": left.pop("pattern")}
            left.pop("maxLength", None)  # of text alone; the pattern bounds it as well as any
        if "pattern" in left:
            made["x-kubernetes-validations"] = [_fits(left.pop("pattern"), right, left, where).manifest()]
        if any(isinstance(left.get(bound), float) and not left[bound].is_integer() for bound in _BOUNDS):
            made["x-kubernetes-validations"] = [_within(left.pop("minimum"), left.pop("maximum"), right).manifest()]
        for key in sorted(left.keys() & _KEPT):
            made[key] = _plain(left.pop(key))
        if made.get("default") in ("", [], {}):
            del made["default"]
        if left:
            raise Untranslatable(f"{where}: {', '.join(sorted(left))}")
        if "description" in made:
            made["description"] = " ".join(made["description"].split())
        for bound in _BOUNDS:
            if abs(made.get(bound, 0)) >= 2**63:
                raise Untranslatable(
                    f"{where}: {bound} {made[bound]:g}, and kubectl makes 64-bit whole numbers of these"
                )
        if made.get("type", "string") not in _TYPES:
            raise Untranslatable(f"{where}: type {made['type']}")
        return made

    def _inner(self, left: Schema, where: str) -> Schema:
        """What stands inside: takes its keywords out of `left`."""
        made: Schema = {}
        if "anyOf" in left:
            arms = left.pop("anyOf")
            if len(arms) != 2 or arms[1] != {"type": "null"}:
                raise Untranslatable(f"{where}: a choice of types; only a type or nothing can be said")
            if left.pop("default", None) is not None:
                raise Untranslatable(f"{where}: may be null, and has a default")
            made |= self.any(arms[0], where)
        if "$ref" in left:
            name = left.pop("$ref").removeprefix("#/$defs/")
            made |= self.named(name, self.definitions.get(name, {}), where)
        if "items" in left:
            made["items"] = _without_defaults(self.any(left.pop("items"), f"{where}[]"))
        if "properties" in left:
            made["properties"] = {
                name: self.any(inner, f"{where}.{name}") for name, inner in left.pop("properties").items()
            }
        if left.get("additionalProperties") is True:
            del left["additionalProperties"]
            made |= OPEN
        elif isinstance(left.get("additionalProperties"), dict):
            made["additionalProperties"] = self.any(left.pop("additionalProperties"), f"{where}.*")
        if "patternProperties" in left:
            ((pattern, inner),) = left.pop("patternProperties").items()
            longest = left.pop("propertyNames", {}).get("maxLength")
            made["additionalProperties"] = self.any(inner, f"{where}.*")
            made["x-kubernetes-validations"] = [_keys_fit(pattern, longest, where).manifest()]
        return made


def _fits(pattern: str, right: str, schema: Schema, where: str) -> Validation:
    if not right or "maxLength" not in schema:
        raise Untranslatable(f"{where}: a pattern needs words for what is right, and maxLength (CEL counts its cost)")
    rest = f" does not fit; right: {right}"
    return Validation(
        f"self.matches({text(pattern)})", rest.strip(), reason="FieldValueInvalid",
        expression=filled(f'"%s"{rest}', "self"),
    )  # fmt: skip


def _within(low: float, high: float, right: str) -> Validation:
    """Of bounds that are no whole numbers: the API server's own message would cut them to whole ones."""
    due = right or f"a number from {low:.12g} to {high:.12g}"
    rule = f"self >= {float(low)!r} && self <= {float(high)!r}"
    return Validation(rule, f"is out of bounds; right: {due}", reason="FieldValueInvalid")


def _keys_fit(pattern: str, longest: int | None, where: str) -> Validation:
    if longest is None:
        raise Untranslatable(f"{where}: keys without a greatest length")
    rule = f"self.all(key, size(key) <= {longest} && key.matches({text(pattern)}))"
    return Validation(rule, "a key does not fit; right: a key such as example.com/team", reason="FieldValueInvalid")


def _without_defaults(schema: Schema) -> Schema:
    """Of items: `kubectl apply` compares lists as wholes, so a default in one is a change whenever it is applied."""
    inside = {
        key: {name: _without_defaults(inner) for name, inner in value.items()} if key == "properties" else value
        for key, value in schema.items()
        if key != "default"
    }
    for key in ("items", "additionalProperties"):
        if isinstance(inside.get(key), dict):
            inside[key] = _without_defaults(inside[key])
    return inside


def _plain(value: Any) -> Any:
    """A default without nulls and what is empty: a field that may be absent is absent."""
    if isinstance(value, dict):
        told = {key: _plain(item) for key, item in value.items()}
        return {key: item for key, item in told.items() if item is not None and item not in ("", [], {})}
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value
