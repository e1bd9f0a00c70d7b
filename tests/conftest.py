"""What holds for every test: marks and time limits by folder, no state of the person who runs them."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).parent
TIME_LIMITS = {"unit": 60, "integration": 300, "simulator": 300, "cluster": 600}
"""Seconds. A limit ends a test that hangs; it says nothing about how fast one should be."""

MARKS = {"integration": pytest.mark.integration, "cluster": pytest.mark.cluster}
"""Every other folder is `unit`."""

# Several jobs and test processes at once, each alone on the machine as far as it knows: their threads would spin
# against one another. Before torch is imported, and inherited by members.
os.environ["OMP_NUM_THREADS"] = "1"

# Members that tests bring import from this folder, as pytest itself does.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))

# Under nohup, or in the background of a shell, these are ignored, and what tests start would inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# Deadlines would measure the machine, not the code; the same examples each time make a failure repeatable.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in TIME_LIMITS:
            item.add_marker(MARKS.get(folder, pytest.mark.unit))
            if item.get_closest_marker("timeout") is None:
                # From nothing it takes longer to build a cluster than any test of it may.
                item.add_marker(pytest.mark.timeout(TIME_LIMITS[folder], func_only=folder == "cluster"))


@pytest.fixture(autouse=True)
def own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dsj` keeps jobs under XDG_STATE_HOME: each test has its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
