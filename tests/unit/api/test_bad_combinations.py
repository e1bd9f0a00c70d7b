"""Rules that join fields, and rules inside one mapping: at least one bad manifest for each, and the whole message."""

from pathlib import Path

import pytest

from builders.bad_manifests import COMBINATIONS, INSIDE, SEE
from builders.manifests import refused
from deepseek_operator.api.problems import Kind
from deepseek_operator.api.rules import RULES

PAGE = Path(__file__).parents[3] / SEE


@pytest.mark.parametrize(
    "kind,text,message",
    [
        pytest.param(kind, text, message, id=name.replace(" ", "-"))
        for kind, cases in [*COMBINATIONS.items(), *INSIDE.items()]
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
    told = " ".join(message for cases in COMBINATIONS.values() for _, _, message in cases)
    for rule in RULES:
        assert f" {rule.fields[0]}: " in told, f"no case for {rule.fields[0]}"
        assert not rule.see or rule.see in headings
