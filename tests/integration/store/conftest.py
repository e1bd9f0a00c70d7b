"""The chart's store, as its pod runs it: over TLS, with an authority of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.store_servers import STORE_KEY as KEY
from deepseek_operator.certificates import Authority, years


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
