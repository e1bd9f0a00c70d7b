from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.real_jobs import Jobs


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    """Whatever a test starts is gone after it."""
    # Several jobs at once, each alone on the machine as far as it knows: their threads would spin against one another.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = Jobs(tmp_path)
    try:
        yield made
    finally:
        made.end()
