"""Posts for each kind of transport."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.posts import Posts, posts_over


@pytest.fixture(params=["tcp", "curve", "ipc"])
def posts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Posts]:
    """Over every implementation."""
    with posts_over(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=["tcp", "curve"])
def tcp_posts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Posts]:
    """Over those that a TCP proxy can stand between."""
    with posts_over(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def plain_posts(tmp_path: Path) -> Iterator[Posts]:
    with posts_over("tcp", tmp_path) as made:
        yield made
