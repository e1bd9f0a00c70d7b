"""docs/formats/payload.md by example: payloads written once, which every later version must read and write alike.

A golden file: runs, settings and values on lines of JSON, then the payload in hexadecimal.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from deepseek_runtime.compression import codec_for
from deepseek_runtime.compression.coding import Cut, How
from deepseek_runtime.compression.form import VALUE_BITS
from deepseek_runtime.compression.pieces import Tensor
from deepseek_runtime.contract.config import Compression
from deepseek_runtime.space import Run

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
@pytest.mark.parametrize("fast", [False, True], ids=["numpy", "numba"])
def test_payload(path: Path, fast: bool) -> None:
    golden = json.loads(path.read_text())
    runs = [Run(kind, 0, start, stop) for kind, start, stop in golden["runs"]]
    tensors = [Tensor(*tensor) for tensor in golden.get("tensors", [])]
    codec = codec_for(runs, Compression(**golden["settings"]), tensors, fast=fast, chunk=golden["chunk"])
    values = np.array(golden["values"], np.float32)
    payload = bytes.fromhex(golden["payload"])
    if golden["dense"]:
        assert codec.encode_dense(values) == payload
    elif golden["settings"]["method"] != "lowrank":  # whose factors are as good as the machine's matrix library
        how = How(cut=Cut(*golden["cut"]) if "cut" in golden else None)
        assert codec.encode(values, np.empty_like(values), how=how) == payload
    assert codec.decode(payload).tolist() == golden["decoded"]


def test_there_are_golden_files_for_every_form() -> None:
    golden = [json.loads(path.read_text()) for path in GOLDEN]
    assert {one["payload"][:2] for one in golden} == {"20", "21", "22", "23", "24"}
    bits = {(one["settings"]["method"], one["settings"].get("value_bits")) for one in golden}
    assert {("topk", value_bits) for value_bits in VALUE_BITS} <= bits
    assert {("quantised", value_bits) for value_bits in (1, 4, 8, 16)} <= bits
