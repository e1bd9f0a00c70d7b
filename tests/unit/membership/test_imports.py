"""A server's start waits for this import: nothing heavy may come with it."""

import os
import subprocess
import sys


def test_membership_needs_neither_torch_nor_numpy_nor_zmq() -> None:
    code = "import sys, deepseek_runtime.membership; print(*[m for m in ('torch', 'numpy', 'zmq') if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    assert done.stdout.split() == []
