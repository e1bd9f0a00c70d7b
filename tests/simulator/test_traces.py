"""Each trace of protocol.md on the real machines."""

import pytest

from simulator.traces import TRACES


@pytest.mark.parametrize("name", TRACES)
def test_trace(name: str) -> None:
    TRACES[name]()
