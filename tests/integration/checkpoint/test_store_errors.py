"""What people read when a store cannot be used: what is wrong, and what would be right."""

import errno
import os
import sys
from importlib import import_module
from pathlib import Path

import pytest

from builders.store_servers import PASSWORD, S3, USER, closed_port
from deepseek_runtime.checkpoint.store import Store, StoreError, open_store


def refused(uri: str, **options: object) -> StoreError:
    with pytest.raises(StoreError) as caught:
        open_store(uri, options)
    assert caught.value.kind == "scheme"
    return caught.value


@pytest.mark.parametrize(
    "uri, advice",
    [
        ("", "empty"),
        ("foo://bucket/x", "unknown scheme 'foo'; use file:///folder"),
        ("memory://x", "lost with its process"),
        ("file://data/x", "names the host 'data'"),
        ("file:relative", "file:///absolute/folder"),
        ("https:///folder", "names no host"),
    ],
)
def test_a_wrong_uri_says_what_would_be_right(uri: str, advice: str) -> None:
    assert advice in refused(uri).message


@pytest.mark.parametrize(
    "uri, module, package",
    [
        ("s3://bucket/x", "s3fs", "deepseek-operator[s3]"),
        ("gs://bucket/x", "gcsfs", "deepseek-operator[gcs]"),
        ("https://host/x", "webdav4.client", "deepseek-operator[webdav]"),
    ],
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, uri: str, module: str, package: str) -> None:
    registry: dict[str, object] = import_module("fsspec.registry")._registry
    for scheme in ("s3", "gs"):
        monkeypatch.delitem(registry, scheme, raising=False)
    monkeypatch.setitem(sys.modules, module, None)  # now import raises ImportError
    assert f"pip install '{package}'" in refused(uri).message


def test_options_that_do_not_fit_are_refused() -> None:
    assert "options" in refused("https://host/x", nonsense=1).message


def test_nothing_listens() -> None:
    store = open_store(f"http://127.0.0.1:{closed_port()}/jobs")
    for use in (store.check, store.list, lambda: store.exists("t1/base.json"), lambda: store.get("t1/base.json")):
        with pytest.raises(StoreError, match="cannot be reached") as caught:
            use()
        assert caught.value.kind == "unreachable"
    store.close()


def test_a_silent_s3_is_unreachable_and_never_empty() -> None:
    pytest.importorskip("s3fs")
    options = {
        "key": "k",
        "secret": "s",
        "endpoint_url": f"http://127.0.0.1:{closed_port()}",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    store = open_store("s3://bucket/x", options)
    for use in (store.list, lambda: store.exists("t1/base.json")):
        with pytest.raises(StoreError) as caught:
            use()
        assert caught.value.kind == "unreachable", caught.value


def test_wrong_credentials_are_denied_and_the_password_is_not_told(webdav: str) -> None:
    host = webdav.removeprefix("http://")
    store = open_store(f"http://{USER}:wrong-secret@{host}/jobs")
    for use in (store.check, store.list, lambda: store.exists("t1/base.json")):
        with pytest.raises(StoreError, match="credentials") as caught:
            use()
        assert caught.value.kind == "denied"
        assert "wrong-secret" not in str(caught.value)
    assert "wrong-secret" not in store.uri
    store.close()


def test_credentials_may_stand_in_the_uri(webdav: str) -> None:
    store = open_store(f"webdav://{USER}:{PASSWORD.replace(' ', '%20')}@{webdav.removeprefix('http://')}/in-uri")
    store.check()
    store.close()


def test_a_bucket_that_does_not_exist(s3: S3) -> None:
    with pytest.raises(StoreError, match="does not exist") as caught:
        open_store("s3://no-such-bucket/x", s3.options).check()
    assert caught.value.kind == "missing"


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        open_store(str(tmp_path / "taken")).check()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody may write")
def test_a_folder_that_may_not_be_written() -> None:
    where = "/proc/self/checkpoints" if os.geteuid() == 0 else "/checkpoints"
    with pytest.raises(StoreError) as caught:
        open_store(where).check()
    assert caught.value.kind in ("denied", "missing")


def test_a_disk_without_hard_links_still_creates_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store = open_store(str(tmp_path))
    assert store.create("t1/base.json", b"first")
    assert not store.create("t1/base.json", b"second")
    assert store.get("t1/base.json") == b"first"
    assert store.list(unfinished=True) == ["t1/base.json"]


def test_a_local_root_is_made_and_need_not_exist_for_reading(tmp_path: Path) -> None:
    store: Store = open_store(str(tmp_path / "a" / "b"))
    assert store.list() == []
    assert not store.exists("t1/base.json")
    store.delete_tree("t1")
    store.check()
    assert (tmp_path / "a" / "b").is_dir()
