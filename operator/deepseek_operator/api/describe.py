"""What a field takes, in words, read from the models: one source for messages and for the reference docs."""

import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from deepseek_operator.api.fields import Right
from deepseek_operator.api.problems import Path


@dataclass(frozen=True, slots=True)
class Shape:
    """A type without Annotated and None around it, and what was annotated."""

    type: Any
    rules: tuple[object, ...] = ()

    @property
    def model(self) -> type[BaseModel] | None:
        return self.type if isinstance(self.type, type) and issubclass(self.type, BaseModel) else None

    @property
    def item(self) -> "Shape | None":
        """Of a list's items."""
        return shape_of(get_args(self.type)[0]) if get_origin(self.type) is list else None

    @property
    def values(self) -> "Shape | None":
        """Of a mapping's values."""
        return shape_of(get_args(self.type)[1]) if get_origin(self.type) is dict else None

    @property
    def choices(self) -> tuple[object, ...]:
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    def words(self) -> str:
        """What would be right: `a whole number from 1 to 64`."""
        for rule in self.rules:
            if isinstance(rule, Right):
                return rule.words
        if self.choices:
            return "one of " + ", ".join(str(choice) or '""' for choice in self.choices)
        if self.model is not None:
            return "a mapping with " + _enumerate(
                [alias_of(name, info) for name, info in self.model.model_fields.items()]
            )
        if self.item is not None:
            return f"a list, each item {self.item.words()}"
        if self.values is not None:
            inside = self.values.words()
            return "a mapping of names to values" + ("" if inside == "any value" else f", each {inside}")
        if self.type is bool:
            return "true or false"
        if self.type in (int, float):
            return ("a whole number" if self.type is int else "a number") + self._bounds()
        if self.type is str:
            longest = next((rule.max_length for rule in self.rules if isinstance(rule, MaxLen)), None)
            return "text" if longest is None else f"text of at most {longest} characters"
        return "any value"

    def length(self) -> tuple[int | None, int | None]:
        """Least and most characters or items."""
        least = next((rule.min_length for rule in self.rules if isinstance(rule, MinLen)), None)
        most = next((rule.max_length for rule in self.rules if isinstance(rule, MaxLen)), None)
        return least, most

    def _bounds(self) -> str:
        low = next((rule.ge for rule in self.rules if isinstance(rule, Ge)), None)
        high = next((rule.le for rule in self.rules if isinstance(rule, Le)), None)
        if low is not None and high is not None:
            return f" from {_number(low)} to {_number(high)}"
        if low is not None:
            return f" of at least {_number(low)}"
        return f" of at most {_number(high)}" if high is not None else ""


def shape_of(annotation: Any, rules: Sequence[object] = ()) -> Shape:
    found = [*rules]
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            for rule in more:
                found.extend(rule.metadata if isinstance(rule, FieldInfo) else [rule])
        elif get_origin(annotation) in (Union, types.UnionType):
            (annotation,) = (arm for arm in get_args(annotation) if arm is not type(None))
        else:
            return Shape(annotation, tuple(found))


def shape_of_field(info: FieldInfo) -> Shape:
    return shape_of(info.annotation, info.metadata)


def shape_at(model: type[BaseModel], path: Path) -> Shape:
    """The shape at a path of the manifest; of `Any` beyond what the models know."""
    shape = Shape(model)
    for part in path:
        if shape.model is not None:
            info = field_of(shape.model, str(part))
            shape = shape_of_field(info) if info is not None else Shape(Any)
        else:
            shape = shape.item or shape.values or Shape(Any)
    return shape


def field_of(model: type[BaseModel], alias: str) -> FieldInfo | None:
    """The field that YAML spells `alias`."""
    return next((info for name, info in model.model_fields.items() if alias_of(name, info) == alias), None)


def alias_of(name: str, info: FieldInfo) -> str:
    return info.alias or name


def _enumerate(names: list[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


def _number(value: object) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)
