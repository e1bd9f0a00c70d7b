"""One empty store of each implementation."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from builders.store_servers import PASSWORD, S3, USER, s3_server, webdav_server
from deepseek_runtime.checkpoint.store import Store, open_store

OpenStore = Callable[[], Store]


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    with s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def webdav(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("wsgidav")
    with webdav_server(tmp_path_factory.mktemp("webdav")) as url:
        yield url


@pytest.fixture(params=["file", "memory", "webdav", "s3"])
def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens one and the same store, each time anew, as another process would."""
    uri = (tmp_path / "store").as_uri()
    options: dict[str, Any] = {}
    match request.param:
        case "memory":
            uri = f"memory://{tmp_path}"
        case "webdav":
            uri, options = f"{request.getfixturevalue('webdav')}/jobs/{tmp_path.name}", {"auth": [USER, PASSWORD]}
        case "s3":
            server: S3 = request.getfixturevalue("s3")
            uri, options = f"{server.uri}/{tmp_path.name}", server.options
    with ExitStack() as opened:

        def open_one() -> Store:
            store = open_store(uri, options, volatile=True)
            opened.callback(store.close)
            return store

        yield open_one


@pytest.fixture
def store(open_again: OpenStore) -> Store:
    return open_again()
