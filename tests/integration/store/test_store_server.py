"""The chart's store over TLS, as members reach it: fsspec's webdav4 under checkpoint/remote.py."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from ssl import create_default_context

import pytest

from builders.store_servers import STORE_KEY as KEY
from deepseek_runtime.checkpoint.remote import RemoteStore
from deepseek_runtime.checkpoint.store import StoreError, open_store
from deepseek_runtime.contract.store import password_of as password
from deepseek_runtime.contract.store import user_of

pytest.importorskip("wsgidav")
pytest.importorskip("webdav4")

UID = "5a1c8f6e-0000-4000-8000-000000000001"
OTHER = "5a1c8f6e-0000-4000-8000-000000000002"
MINE, MY_FOLDER = user_of("team-a", "mine", UID), f"team-a/mine/{UID}"
THEIRS, ELSEWHERE = user_of("team-a", "theirs", OTHER), user_of("team-b", "mine", UID)


@pytest.fixture
def store(url: str, folder: Path) -> Iterator[RemoteStore]:
    opened = of(url, folder, MY_FOLDER, MINE, password(KEY, MINE))
    yield opened
    opened.close()


def of(url: str, folder: Path, path: str, user: str, secret: str) -> RemoteStore:
    options = {"auth": [user, secret], "verify": str(folder / "ca.crt")}
    opened = open_store(f"{url.replace('https', 'webdavs')}/{path}", options)
    assert isinstance(opened, RemoteStore)
    return opened


def test_a_checkpoint_goes_in_and_out(store: RemoteStore) -> None:
    store.check()
    part = os.urandom(9 << 20)
    with store.open_write("step-8/part-0.safetensors") as sink:
        sink.write(part[: 5 << 20])
        sink.write(part[5 << 20 :])
    store.put("step-8/index.json", b"{}")
    assert store.create("latest", b"8")
    assert not store.create("latest", b"9")
    with store.open_read("step-8/part-0.safetensors") as source:
        assert b"".join(iter(lambda: source.read(4 << 20), b"")) == part
    assert store.list() == ["latest", "step-8/index.json", "step-8/part-0.safetensors"]
    store.delete_tree("step-8")
    assert store.list() == ["latest"]
    store.delete_tree("latest")


@pytest.mark.parametrize("secret", [password(KEY, THEIRS), ""])
def test_a_wrong_password_is_denied(url: str, folder: Path, secret: str) -> None:
    stranger = of(url, folder, MY_FOLDER, MINE, secret)
    with pytest.raises(StoreError) as refused:
        stranger.check()
    assert refused.value.kind == "denied"
    stranger.close()


def test_jobs_of_a_namespace_read_one_another_and_no_more(url: str, folder: Path) -> None:
    def refused(attempt: Callable[[], object]) -> bool:
        with pytest.raises(StoreError) as error:
            attempt()
        return error.value.kind == "denied"

    mine = of(url, folder, MY_FOLDER, MINE, password(KEY, MINE))
    mine.put("t1/index.json", b"mine")
    beside = of(url, folder, MY_FOLDER, THEIRS, password(KEY, THEIRS))
    assert beside.get("t1/index.json") == b"mine"
    assert beside.list() == ["t1/index.json"]
    assert refused(lambda: beside.put("t1/index.json", b"theirs"))
    assert refused(lambda: beside.put("t2/more", b"theirs"))
    assert refused(lambda: beside.delete_tree("t1"))
    assert refused(beside.check)
    of_the_name = of(url, folder, "team-a/mine", THEIRS, password(KEY, THEIRS))
    assert of_the_name.list() == [f"{UID}/t1/index.json"]
    outside = of(url, folder, MY_FOLDER, ELSEWHERE, password(KEY, ELSEWHERE))
    assert refused(lambda: outside.get("t1/index.json"))
    assert refused(outside.list)
    assert refused(lambda: outside.exists("t1/index.json"))
    assert refused(outside.check)
    admin = of(url, folder, MY_FOLDER, "admin", password(KEY, "admin"))
    assert admin.get("t1/index.json") == b"mine"
    for opened in (mine, beside, of_the_name, outside, admin):
        opened.close()


def test_an_unknown_authority_is_refused(url: str) -> None:
    stranger = open_store(f"{url.replace('https', 'webdavs')}/{MY_FOLDER}", {"auth": [MINE, password(KEY, MINE)]})
    with pytest.raises(StoreError):
        stranger.check()
    stranger.close()


def test_health_needs_no_user(url: str, folder: Path) -> None:
    context = create_default_context(cafile=str(folder / "ca.crt"))
    with urllib.request.urlopen(f"{url}/healthz", timeout=10, context=context) as answer:
        assert answer.status == 200
        assert b"bytes free" in answer.read()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{url}/", timeout=10, context=context)
    assert refused.value.code == 401
    refused.value.close()


@pytest.mark.parametrize(
    "key,says",
    [(b"short", "shorter than 16 bytes"), (None, "cannot be read")],
)
def test_it_says_why_it_does_not_start(key: bytes | None, says: str, tmp_path: Path) -> None:
    if key is not None:
        (tmp_path / "key").write_bytes(key)
    command = [sys.executable, "-m", "deepseek_runtime.store_server", "--folder", str(tmp_path / "data")]
    command += ["--key", str(tmp_path / "key"), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30)
    assert ended.returncode in (66, 78)
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
