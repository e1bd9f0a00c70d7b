"""`make bench-bytelm` does in small what it does in full: a real job, its rivals, and figures that fit together."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepseek_runtime.tasks.bytelm import BYTES

ROOT = Path(__file__).parents[3]


def test_the_benchmark_in_small(tmp_path: Path) -> None:
    """A real job of 48 batches: the figures are of the same tokens, and the bytes far below dense ones."""
    out = tmp_path / "bytelm.json"
    environment = os.environ | {
        "QUICK": "1",
        "BENCH_OUT": str(out),
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("runtime", "operator", "tests")),
    }
    script = ROOT / "tests" / "bench" / "bytelm.py"
    done = subprocess.run([sys.executable, script], env=environment, cwd=tmp_path, capture_output=True, timeout=280)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    document = json.loads(out.read_text())
    assert set(document) >= {"machine", "rows"}
    rows: dict[str, Any] = {row["metric"]: row for row in document["rows"]}
    assert set(rows) == {
        "loss", "above synchronous, lr 0.004", "below trigram table", "speed", "CPU time", "bytes both ways",
    }  # fmt: skip
    loss = rows["loss"]
    synchronous, table = loss["rival"]["synchronous, lr 0.004"], loss["rival"]["trigram table"]
    assert table < synchronous < math.log(BYTES)
    assert table < loss["ours"] < math.log(BYTES)
    assert rows["above synchronous, lr 0.004"]["ours"] == pytest.approx(100 * (loss["ours"] / synchronous - 1))
    wire = rows["bytes both ways"]
    assert wire["limit"] < wire["ours"] < wire["rival"]["dense push and pull"]
    assert b"49,152 tokens in batches of 1,024" in done.stdout
