"""Killed writers and full disks: the old file or none, and a message."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from builders.store_servers import PASSWORD, USER, webdav_server
from deepseek_runtime.checkpoint.local import LocalStore
from deepseek_runtime.checkpoint.read import read_part
from deepseek_runtime.checkpoint.store import Store, StoreError, open_store
from deepseek_runtime.checkpoint.write import Part, write_part
from deepseek_runtime.checkpoint.writer import Writer
from faults.full_disk import CannotMount, fill, small_disk

# Says so when half a part is written, and then waits for ever: the kill always comes in the middle.
WRITER = """
import sys, threading
from deepseek_runtime.checkpoint.store import open_store

store = open_store(sys.argv[1], {"auth": ["trainer", "correct horse"]} if "://" in sys.argv[1] else {})
with store.open_write(sys.argv[2]) as sink:
    sink.write(bytes(2 << 20))
    print("half", flush=True)
    threading.Event().wait(60)
"""


def kill_half_way(uri: str, path: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, uri, path], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL


@pytest.mark.parametrize("kind", ["file", "webdav"])
def test_a_writer_killed_half_way_leaves_the_old_file_or_none(kind: str, tmp_path: Path) -> None:
    if kind == "file":
        prove_atomic(open_store(str(tmp_path)), str(tmp_path))
        return
    pytest.importorskip("wsgidav")
    with webdav_server(tmp_path) as url:
        store = open_store(f"{url}/jobs", {"auth": (USER, PASSWORD)})
        prove_atomic(store, f"{url}/jobs")
        store.close()


def prove_atomic(store: Store, uri: str) -> None:
    kill_half_way(uri, "t1/step-1/span-0.safetensors")
    assert store.list() == []
    old = write_part(store, "t1/step-1/span-0.safetensors", {"theta": np.ones(5, np.float32)}, {})
    kill_half_way(uri, "t1/step-1/span-0.safetensors")
    assert read_part(store, old)["theta"].tolist() == [1.0] * 5
    assert store.list() == ["t1/step-1/span-0.safetensors"]
    store.delete_tree("t1/step-1")
    assert store.list(unfinished=True) == []


def test_a_full_disk_is_told_and_leaves_nothing_half(tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "disk", megabytes=2) as disk:
            prove_full(LocalStore(disk), disk)
    except CannotMount as reason:
        pytest.skip(str(reason))


def test_a_full_webdav_server_is_told_and_leaves_nothing_half(tmp_path: Path) -> None:
    pytest.importorskip("wsgidav")
    try:
        with small_disk(tmp_path / "disk", megabytes=2) as disk, webdav_server(disk) as url:
            store = open_store(url, {"auth": (USER, PASSWORD)})
            store.put("t1/first", b"x" * 4096)
            fill(disk, leave=0).rename(disk / "filler")
            with pytest.raises(StoreError) as caught:
                write_part(store, "t1/second", {"theta": np.ones(1 << 20, np.float32)}, {})
            assert caught.value.kind in ("full", "unreachable"), caught.value
            assert store.list("t1") == ["t1/first"]
            store.close()
    except CannotMount as reason:
        pytest.skip(str(reason))


def prove_full(store: LocalStore, disk: Path) -> None:
    small = {"theta": np.ones(1000, np.float32)}
    large = {"theta": np.ones(1 << 20, np.float32)}
    first = write_part(store, "t1/step-1/span-0.safetensors", small, {})
    results: list[Part | StoreError] = []
    told = threading.Event()
    writer = Writer(store, first_pause=0.001)

    def done(result: Part | StoreError) -> None:
        results.append(result)
        told.set()

    assert writer.submit(lambda s: write_part(s, "t1/step-2/span-0.safetensors", large, {}), done)
    assert told.wait(20)  # what it wrote is gone again, before the rest is filled
    filler = fill(disk)
    assert writer.submit(lambda s: write_part(s, "t1/step-3/span-0.safetensors", small, {}), results.append)
    assert writer.close(timeout=20)
    assert [error.kind for error in results if isinstance(error, StoreError)] == ["full", "full"]
    assert "no space is left" in str(results[0])
    assert store.list(unfinished=True) == ["filler", "t1/step-1/span-0.safetensors"]
    filler.unlink()
    write_part(store, "t1/step-3/span-0.safetensors", small, {})
    assert read_part(store, first)["theta"].shape == (1000,)
