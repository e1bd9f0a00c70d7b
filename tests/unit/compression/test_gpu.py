"""Top-K on a GPU gives the bytes and the residual of the CPU. Without a GPU Triton's interpreter runs the kernels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")
ROOT = Path(__file__).parents[3]
SCRIPT = """
import numpy as np, sys, torch
from builders.values import SHAPES, span_of, values_of
from deepseek_runtime.compression import NonFinite, codec_for
from deepseek_runtime.contract.config import Compression
from deepseek_runtime.gpu_topk import GpuTopK
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
size = 3 * 4096 + 1733
for shape in SHAPES:
    for value_bits, ratio in ((2, 0.05), (1, 1 / 64), (3, 0.01), (4, 0.1)):
        values, owed = values_of(shape, size), values_of(shape, size, 1)
        with np.errstate(over="ignore"):
            if not np.isfinite(values + owed).all():
                owed[:] = 0
        codec = codec_for(span_of(("weights", size)), Compression(ratio=ratio, value_bits=value_bits), fast=False)
        room = np.zeros((3, codec.size), np.float32)
        room[0, :size], room[1, :size] = values, owed
        expected = codec.encode(room[0], room[2], plus=room[1])
        left = torch.from_numpy(values).to(device)
        given = GpuTopK(size, ratio, value_bits, device).encode(left, torch.from_numpy(owed).to(device), left)
        assert given == expected, (shape, value_bits)
        assert left.cpu().numpy().tobytes() == room[2, :size].tobytes(), (shape, value_bits)
left[5000] = float("nan")
try:
    GpuTopK(size, 0.05, 2, device).encode(left, left, left)
except NonFinite as error:
    assert error.index == 4096
else:
    sys.exit("a NaN went through")
print("same bytes")
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_bytes() -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/runtime:{ROOT}/tests"}
    if not torch.cuda.is_available():
        environment["TRITON_INTERPRET"] = "1"
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=590)
    assert "same bytes" in done.stdout, done.stderr


def test_what_it_is_not_made_for_is_refused() -> None:
    from deepseek_runtime.gpu_topk import GpuTopK

    for ratio, value_bits in ((0.05, 8), (0.5, 2)):
        with pytest.raises(ValueError, match="must be 1 to 4"):
            GpuTopK(4096, ratio, value_bits, torch.device("cpu"))
