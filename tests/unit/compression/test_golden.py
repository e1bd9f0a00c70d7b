"""docs/formats/payload.md by example: payloads written once, which every later version must read and write alike.

A golden file: runs, settings and values on lines of JSON, then the payload in hexadecimal.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from deepseek_runtime.compression import codec_for
from deepseek_runtime.contract.config import Compression
from deepseek_runtime.space import Run

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
@pytest.mark.parametrize("fast", [False, True], ids=["numpy", "numba"])
def test_payload(path: Path, fast: bool) -> None:
    golden = json.loads(path.read_text())
    runs = [Run(kind, 0, start, stop) for kind, start, stop in golden["runs"]]
    codec = codec_for(runs, Compression(**golden["settings"]), fast=fast, chunk=golden["chunk"])
    values = np.array(golden["values"], np.float32)
    payload = bytes.fromhex(golden["payload"])
    if golden["dense"]:
        assert codec.encode_dense(values) == payload
    else:
        assert codec.encode(values, np.empty_like(values)) == payload
    assert codec.decode(payload).tolist() == golden["decoded"]


def test_there_are_golden_files_for_every_form() -> None:
    forms = {json.loads(path.read_text())["payload"][:2] for path in GOLDEN}
    assert forms == {"10", "12", "13", "14"}
