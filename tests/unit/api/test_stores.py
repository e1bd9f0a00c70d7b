"""Which stores a manifest may name, and whether one can be reached."""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from deepseek_operator.api import storage


@pytest.mark.parametrize(
    "uri",
    ["checkpoints", "./a:b", "/a/b", "~/a", "file:///a", "file:/a", "local:///a", "C/D"],
)
def test_folders_are_right(uri: str) -> None:
    assert storage.judge_uri(uri, "f") is None


@pytest.mark.parametrize(
    "uri,absolute",
    [
        ("a", "file:///base/a"),
        ("../a", "file:///a"),
        ("/a/./b/", "file:///a/b"),
        ("file:///a", "file:///a"),
        ("file:/a", "file:///a"),
        ("local:///a", "file:///a"),
        ("s3://b/c", "s3://b/c"),
    ],
)
def test_paths_become_absolute_uris(uri: str, absolute: str) -> None:
    assert storage.absolute(uri, Path("/base")) == absolute


@pytest.mark.parametrize(
    "uri,message",
    [
        ("s3:///a", "names nothing behind s3:"),
        ("s3:bucket", "names nothing behind s3:"),
        ("zip://a::s3://b/c", "zip is a view of something else, not a store"),
        ("s3://a::s3://b/c", "chains two stores"),
        ("gss://a", "the scheme gss is not known; did you mean gs?"),
        ("foo://x", "the scheme foo is not known"),
    ],
)
def test_other_uris_are_told_what_is_wrong(uri: str, message: str) -> None:
    problem = storage.judge_uri(uri, "spec.x")
    assert problem is not None
    assert problem.kind == "scheme"
    assert problem.message == f'"{uri}": {message}'


@pytest.mark.parametrize("uri", ["a\0b", "file:///a\nb", "s3://b/\x7f"])
def test_a_control_character_is_no_part_of_a_place(uri: str) -> None:
    problem = storage.judge_uri(uri, "spec.x")
    assert problem is not None
    assert "holds a control character" in problem.message


@pytest.mark.parametrize("uri,package,extra", [("s3://b/c", "s3fs", "s3"), ("gs://b/c", "gcsfs", "gcs")])
def test_a_store_whose_package_is_missing_names_the_extra(
    uri: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec

    def without(name: str, parent: str | None = None) -> ModuleSpec | None:
        return None if name == package else found(name, parent)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    problem = storage.judge_uri(uri, "f")
    assert problem is not None
    assert problem.message.endswith(f"needs the package {package}, which is not installed")
    assert problem.right == f"pip install 'deepseek-operator[{extra}]'"


def test_a_store_that_can_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    assert storage.check_store(f"file://{tmp_path}/new", {}, "f") is None
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    problem = storage.check_store(f"file://{tmp_path}/file/inside", {}, "spec.x")
    assert problem is not None
    assert problem.kind == "store"
    assert "cannot be written: " in problem.message
    assert "Error" in problem.message


def test_a_store_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_probe", lambda *_: None)
    problem = storage.check_store(f"file://{tmp_path}", {}, "spec.x", seconds=0.01)
    assert problem is not None
    assert problem.message.endswith("no answer within 0.01 s")
