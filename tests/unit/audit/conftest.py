from pathlib import Path

import pytest

from builders.journals import JournaledJob
from deepseek_runtime.checkpoint.local import LocalStore


@pytest.fixture
def job(tmp_path: Path) -> JournaledJob:
    (tmp_path / "data").mkdir()
    return JournaledJob(tmp_path / "data", LocalStore(str(tmp_path / "store")))
