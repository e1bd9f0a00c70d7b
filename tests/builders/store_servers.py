"""Servers that keep files, on free loopback ports: WebDAV (a process) and S3 (a thread of this one)."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

USER, PASSWORD = "trainer", "correct horse"
STORE_KEY = b"a key that nobody knows, 32 byte"
"""Of the chart's own store."""


@contextmanager
def webdav_server(folder: Path, port: int = 0) -> Iterator[str]:
    """A WebDAV server for USER on `folder`, in a process of its own; -> http://127.0.0.1:port (0: a free one)"""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "builders.store_servers", str(folder), str(port)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def _serve_webdav(folder: str, port: int) -> None:
    """Until standard input ends, as it does when the test is gone."""
    from cheroot import wsgi
    from wsgidav.wsgidav_app import WsgiDAVApp

    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": folder},
            "simple_dc": {"user_mapping": {"*": {USER: {"password": PASSWORD}}}},
            "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
            "verbose": 0,
            "logging": {"enable": False},
            "lock_storage": False,
            "property_manager": False,
        }
    )
    server = wsgi.Server(("127.0.0.1", port), app, numthreads=4)
    server.prepare()
    threading.Thread(target=server.serve, daemon=True).start()
    print(f"http://127.0.0.1:{server.bind_addr[1]}", flush=True)
    sys.stdin.read()


@dataclass
class S3:
    uri: str
    """s3://bucket"""
    options: dict[str, Any] = field(default_factory=dict)


@contextmanager
def s3_server(bucket: str = "jobs") -> Iterator[S3]:
    """An S3 endpoint with one bucket. Raises ImportError where moto's server or s3fs is not installed."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"key": "test", "secret": "test", "endpoint_url": f"http://{host}:{port}"}
    try:
        s3fs.S3FileSystem(skip_instance_cache=True, **options).mkdir(bucket)
        yield S3(f"s3://{bucket}", options)
    finally:
        server.stop()


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    _serve_webdav(sys.argv[1], int(sys.argv[2]))
