"""Jobs through the client, with members that train nothing; none of them outlives its test."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from builders import fake_member
from deepseek_operator import launch
from deepseek_operator.state_folder import StateFolder, default_state_root
from deepseek_runtime.contract.config import Timing

FAKE = (sys.executable, "-P", str(Path(fake_member.__file__).absolute()))
Release = Callable[[str], None]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    root = default_state_root()
    for folder in [StateFolder(path) for path in root.iterdir()] if root.exists() else []:
        if folder.alive():
            folder.request_stop(drain=False)
            folder.wait(30)
        folder.end_left_behind()


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Release:
    """Starts fakes in place of members. Called with a job's name it lets one that is held finish."""
    timing = Timing(registration_ttl=2.0, progress=0.1)
    monkeypatch.setattr(
        launch, "start", partial(launch.start, timing=timing, commands={"server": FAKE, "worker": FAKE})
    )

    def release(name: str) -> None:
        (default_state_root() / name / "release").touch()

    return release
