"""A server registers before numba is imported; where there is no numba, numpy does the same work."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from builders.values import span_of, values_of
from deepseek_runtime.compression import codec, codec_for, plain
from deepseek_runtime.contract.config import Compression


def test_making_a_codec_imports_neither_numba_nor_torch() -> None:
    script = (
        "import sys\n"
        "from deepseek_runtime.compression import codec_for, load\n"
        "from deepseek_runtime.contract.config import Compression\n"
        "from deepseek_runtime.space import Run\n"
        "codec_for([Run('weights', 0, 0, 4096)], Compression())\n"
        "sys.exit(bool({'numba', 'torch'} & set(sys.modules)))\n"
    )
    runtime = Path(codec.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", script], cwd=runtime, timeout=50, check=False).returncode == 0


def test_without_numba_numpy_gives_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    values = values_of("gaussian", 8192)
    runs = span_of(("weights", 8192))
    expected = codec_for(runs, Compression()).encode(values, np.empty_like(values))
    monkeypatch.setitem(sys.modules, "deepseek_runtime.compression.fast", None)
    monkeypatch.delattr("deepseek_runtime.compression.fast", raising=False)
    codec.load.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert codec.load() is plain
        assert "plain numpy" in caplog.text
        assert codec_for(runs, Compression()).encode(values, np.empty_like(values)) == expected
    finally:
        codec.load.cache_clear()
