"""Every reason that blocks a job has a page: what it means, and what to do."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = ROOT / "docs" / "reasons"
SOURCES = sorted((ROOT / "operator" / "deepseek_operator").rglob("*.py"))


def blocking_reasons() -> set[str]:
    """First arguments of Obstacle(...), and reasons of Saying("Blocked", True, ...), wherever they are written."""
    found: set[str] = set()
    for source in SOURCES:
        text = source.read_text()
        constants = dict(re.findall(r'^([A-Z_]+) = "([A-Z][A-Za-z]+)"$', text, re.MULTILINE))
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            values = [
                constants.get(a.id) if isinstance(a, ast.Name) else getattr(a, "value", None) for a in node.args[:3]
            ]
            if node.func.id == "Obstacle" and values:
                assert isinstance(values[0], str), f"{source}:{node.lineno}: a reason that cannot be read here"
                found.add(values[0])
            elif node.func.id in ("Saying", "set_condition") and "Blocked" in values[:2] and True in values:
                found |= {v for v in values if isinstance(v, str) and v != "Blocked"}
    return found


def test_the_search_finds_them() -> None:
    assert {"Unschedulable", "VolumeCannotBeMounted", "StorageNotShared", "CrashLoop"} <= blocking_reasons()


@pytest.mark.parametrize("reason", sorted(blocking_reasons() | {"InvalidSpec"}))
def test_it_has_a_page(reason: str) -> None:
    page = (PAGES / f"{reason}.md").read_text()
    assert page.startswith(f"# {reason}\n")
    assert "## What to do\n\n- " in page


def test_the_index_has_all_pages() -> None:
    index = (PAGES / "README.md").read_text()
    pages = {page.stem for page in PAGES.glob("*.md")} - {"README"}
    assert set(re.findall(r"\]\(([A-Za-z]+)\.md\)", index)) == pages
