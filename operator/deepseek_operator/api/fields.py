"""What all models of the resource share: how they read, and the kinds of values that several of them hold.

The models are the one source of parsing, defaults, reference docs and the CRD (schema.py), whose schemas know
little: hence no gt/lt, no tuples, no sets, no default_factory, no discriminated unions.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, JsonValue
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema


class Section(BaseModel):
    """A mapping of the manifest. camelCase outside; unknown keys are ignored here and refused by strict.py.

    Values are taken as written: `"32"` is no number, `1` no text. NaN and infinities are refused.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


@dataclass(frozen=True, slots=True)
class Right:
    """What a field takes, in words, where its type and bounds do not say it. Metadata of an annotation."""

    words: str

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Words travel with the pattern, for the message of the CRD's rule."""
        return {**handler(schema), "x-right": self.words}


def keyed(name: str) -> dict[str, JsonValue]:
    """Items are one of a kind by `name`, and merged by it: what Kubernetes calls a list of type map."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [name]}


MAX_STEPS = 1_000_000_000_000
"""Far above any job, far below what a JSON number holds exactly: larger ones are slips of the keyboard."""
MAX_SECONDS = 2_147_483_647

Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]
StepsOrNever = Annotated[int, Field(ge=0, le=MAX_STEPS)]
Factor = Annotated[float, Field(ge=0.0, le=0.9999)]
"""A momentum or decay: 1 would never forget."""


def _quantity_text(value: object) -> object:
    """`cpu: 2` is how people write it, and how Kubernetes reads it: the one place where a number becomes text.

    `cpu: 0.5` is refused, as a CRD cannot take it.
    """
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
Quantity = Annotated[
    str,
    BeforeValidator(_quantity_text),
    Field(
        pattern=_QUANTITY,
        max_length=32,
        # Behind a validator pydantic leaves the pattern out of its schema.
        json_schema_extra={"x-kubernetes-int-or-string": True, "pattern": _QUANTITY},
    ),
    Right("a quantity as Kubernetes writes it, such as 500m, 2 or 4Gi"),
]
LabelKey = Annotated[
    str,
    Field(pattern=r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$", max_length=317),
    Right("a label's key, such as disktype or example.com/team"),
]
LabelValue = Annotated[
    str,
    Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$", max_length=63),
    Right("at most 63 letters, digits, '-', '_' or '.'; numbers and true/false in quotes"),
]
DnsLabel = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"),
    Right("small letters, digits and '-', with a letter or digit at both ends"),
]
ObjectName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253),
    Right("the name of an object in the same namespace: small letters, digits, '-' and '.'"),
]
