from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.real_jobs import Jobs


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    """Whatever a test starts is gone after it."""
    made = Jobs(tmp_path)
    monkeypatch.setenv("HURRY", str(made.hurrying))
    try:
        yield made
    finally:
        made.end()
