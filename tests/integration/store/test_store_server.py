"""The chart's store over TLS, as members reach it: fsspec's webdav4 under checkpoint/remote.py."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from ssl import create_default_context

import pytest

from deepseek_operator.certificates import Authority, years
from deepseek_runtime.checkpoint.remote import RemoteStore
from deepseek_runtime.checkpoint.store import StoreError, open_store
from deepseek_runtime.contract.store import password_of as password

pytest.importorskip("wsgidav")
pytest.importorskip("webdav4")

KEY = b"a key that nobody knows, 32 byte"
UID = "5a1c8f6e-0000-4000-8000-000000000001"
OTHER = "5a1c8f6e-0000-4000-8000-000000000002"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    authority = Authority.new("tests", years(1))
    pair = authority.server("store", ["127.0.0.1"], years(1))
    (folder / "ca.crt").write_bytes(authority.certificate)
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)
    (folder / "key").write_bytes(KEY)
    command = [sys.executable, "-m", "deepseek_runtime.store_server", "--host", "127.0.0.1", "--port", "0"]
    command += ["--folder", str(folder / "data"), "--key", str(folder / "key"), "--tls", str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            assert process.wait(20) == 0


@pytest.fixture
def store(url: str, folder: Path) -> Iterator[RemoteStore]:
    opened = of(url, folder, UID, UID, password(KEY, UID))
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


@pytest.mark.parametrize("secret", [password(KEY, OTHER), ""])
def test_a_wrong_password_is_denied(url: str, folder: Path, secret: str) -> None:
    stranger = of(url, folder, UID, UID, secret)
    with pytest.raises(StoreError) as refused:
        stranger.check()
    assert refused.value.kind == "denied"
    stranger.close()


def test_another_jobs_folder_is_denied(url: str, folder: Path) -> None:
    mine = of(url, folder, UID, UID, password(KEY, UID))
    mine.put("index.json", b"mine")
    theirs = of(url, folder, UID, OTHER, password(KEY, OTHER))
    for attempt in (
        lambda: theirs.get("index.json"),
        theirs.check,
        theirs.list,
        lambda: theirs.delete_tree("index.json"),
    ):
        with pytest.raises(StoreError) as refused:
            attempt()
        assert refused.value.kind == "denied"
    admin = of(url, folder, UID, "admin", password(KEY, "admin"))
    assert admin.get("index.json") == b"mine"
    for opened in (mine, theirs, admin):
        opened.close()


def test_an_unknown_authority_is_refused(url: str) -> None:
    stranger = open_store(f"{url.replace('https', 'webdavs')}/{UID}", {"auth": [UID, password(KEY, UID)]})
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
