#!/usr/bin/env bash
# pytest, then the wheel; ends with what ran where, and what did not and why.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build

left_out=()
marks=()
if [ -z "${SLOW:-}" ]; then
    marks=(-m "not slow")
    left_out+=("tests marked slow: run them with make test SLOW=1")
fi
# Two processes on any machine: half of the tests wait for members of jobs, the other half compute.
.venv/bin/python -m pytest -n 2 --dist worksteal "${marks[@]}" --durations=10 --junit-xml=build/tests.xml
.venv/bin/python scripts/wheel_test.py

left_out+=("tests in a real Kubernetes: run them with make test-cluster")
command -v nvidia-smi >/dev/null || left_out+=("tests on a GPU: this machine has none")

echo
echo "What ran where"
.venv/bin/python - <<'PYTHON'
import platform
import xml.etree.ElementTree as xml
from importlib.metadata import version

suite = xml.parse("build/tests.xml").getroot().find("testsuite")
print(
    f"  tests: {suite.get('tests')} in {float(suite.get('time')):.0f} s, Python {platform.python_version()}, "
    f"torch {version('torch')}; skipped {suite.get('skipped')}"
)
PYTHON
sed 's/^/  /' build/wheel-test.txt
if [ ${#left_out[@]} -gt 0 ]; then
    echo "What was left out"
    printf '  %s\n' "${left_out[@]}"
fi
