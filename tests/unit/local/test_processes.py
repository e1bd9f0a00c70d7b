"""Which processes are taken for a job's own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepseek_operator.executors.processes import leaders_with, with_argument


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that names a file of ours in an argument and in its environment."""
    file = tmp_path / "worker-0-0.json"
    process = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); import time; time.sleep(60)", f"--data-dir={file}"],
        env={**os.environ, "NAMES": str(file)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_found_by_argument_and_environment(leader: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert [pid for pid, _ in with_argument(f"--data-dir={tmp_path}/")] == [leader.pid]
    assert [pid for pid, _, _ in leaders_with("NAMES", tmp_path)] == [leader.pid]


def test_another_users_process_is_never_ours(
    leader: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else anybody could keep a job from starting, with a process that it may not kill."""
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    assert list(with_argument(f"--data-dir={tmp_path}/")) == []
    assert list(leaders_with("NAMES", tmp_path)) == []
