"""How scalars of a manifest read, and where things stand."""

import pytest

from deepseek_operator.api.documents import MAX_NODES, Place, read_documents
from deepseek_operator.api.problems import ManifestError


@pytest.mark.parametrize(
    "text,value",
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        (".5", 0.5),
        ("-2.", -2.0),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0o17", 15),
        ("-7", -7),
        ("yes", True),
        ("Off", False),
        ("~", None),
        ("'1'", "1"),
        ("2026-01-02", "2026-01-02"),
        ("1:30", "1:30"),
        ("010", "010"),
        ("1.2.3", "1.2.3"),
        ("4Gi", "4Gi"),
        ("!!str 5", "5"),
        ("[1, a]", [1, "a"]),
    ],
)
def test_scalars_read_as_people_mean_them(text: str, value: object) -> None:
    (document,), problems = read_documents(f"a: {text}\n", "f")
    assert not problems
    assert document.value == {"a": value}
    assert type(document.value["a"]) is type(value)


def test_places_are_of_keys_and_items_and_fall_back_to_what_is_around() -> None:
    (first, second), _ = read_documents("---\na: 1\n---\n# c\nb:\n  c:\n  - d: 1\n  - d: 2\n", "f")
    assert first.place(("a",)) == Place(2, 1)
    assert second.place(()) == Place(5, 1)
    assert second.place(("b", "c", 1, "d")) == Place(8, 5)
    assert second.place(("b", "c", 1, "missing")) == Place(8, 5)


def test_merge_keys_fill_in_what_is_not_given() -> None:
    (document,), problems = read_documents("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n", "f")
    assert not problems
    assert document.value == {"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}}


def test_aliases_that_unfold_to_billions_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(ManifestError, match=f"more than {MAX_NODES} values"):
        read_documents("\n".join(lines), "f")


def test_very_deep_nesting_is_told_not_crashed_on() -> None:
    with pytest.raises(ManifestError, match="nested too deeply"):
        read_documents("[" * 5000, "f")


@pytest.mark.parametrize("text", ["a: \x00", "a: *b", "a: 'b", "{", "- a\nb: c", "%", "a: !!int x\n? [1]\n: 2"])
def test_what_is_no_yaml_is_told_with_its_line(text: str) -> None:
    try:
        _, problems = read_documents(text, "f")
    except ManifestError as error:
        problems = list(error.problems)
    assert problems
    assert all(problem.file == "f" and problem.line >= 1 for problem in problems)


def test_unknown_tags_are_told() -> None:
    _, (problem,) = read_documents("a: !secret x\n", "f")
    assert str(problem) == 'f:1: a: "x" does not fit its tag !secret; right: no tag'


@pytest.mark.parametrize(
    "text,field",
    [
        ('a: "x\\udcff"', "a"),
        ('a: {b: [1, "\\ud800"]}', "a.b[1]"),
        ('a: {"\\udfff": 1}', "a"),
        ('a: "\\ude00\\ud83d"', "a"),
    ],
)
def test_half_a_character_is_told_with_its_place(text: str, field: str) -> None:
    (document,), (problem,) = read_documents(f"# first\n{text}\n", "f")
    assert (problem.field, problem.line, problem.kind) == (field, 2, "type")
    assert "which is no character by itself" in str(problem)
    str(document.value).encode()
    str(problem).encode()


def test_halves_in_a_pair_are_the_character_as_json_writes_it() -> None:
    (document,), problems = read_documents('a: "\\ud83d\\ude00"', "f")
    assert not problems
    assert document.value == {"a": "\N{GRINNING FACE}"}


@pytest.mark.parametrize("number", ["1" * 400, "-" + "1" * 400, "0x" + "f" * 400, "1" * 400 + ".5", "9" * 30 + "e999"])
def test_a_number_beyond_all_bounds_is_shown_short(number: str) -> None:
    _, (problem,) = read_documents(f"steps: {number}", "f")
    assert problem.message.startswith(f"{number[:12]}... ({len(number)} characters) ")
    assert len(str(problem)) < 140
