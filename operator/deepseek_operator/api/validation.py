"""One rule of the CRD in CEL. The API server checks it as the Python beside it does, and says the same."""

import json
from dataclasses import dataclass
from typing import Any, Literal

Reason = Literal["FieldValueForbidden", "FieldValueRequired", "FieldValueInvalid"]


@dataclass(frozen=True, slots=True)
class Validation:
    """`rule` is true when all is right; it speaks of `self`, and of `oldSelf` in a rule about changes.

    field: as the YAML spells it from `self` on, empty: `self`. message: static text, or with `expression` what is said
    when that fails. expression: CEL that gives the message.
    """

    rule: str
    message: str
    field: str = ""
    reason: Reason = "FieldValueForbidden"
    expression: str = ""

    def manifest(self) -> dict[str, Any]:
        """As an item of x-kubernetes-validations."""
        parts = {
            "fieldPath": f".{self.field}" if self.field else "",
            "message": self.message,
            "messageExpression": self.expression,
            "reason": self.reason,
            "rule": self.rule,
        }
        return {key: value for key, value in parts.items() if value}


def text(value: str) -> str:
    """A CEL string literal."""
    return json.dumps(value, ensure_ascii=False)


def filled(template: str, *values: str) -> str:
    """A CEL expression: CEL's format, `%d` for whole numbers, `%s` for the rest, `%%` for a per cent sign.

    One format and nothing joined to it: `+` and string(int) exceed the API server's budget for what a message may cost.
    """
    return f"{text(template)}.format([{', '.join(f'dyn({value})' for value in values)}])"
