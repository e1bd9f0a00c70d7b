#!/usr/bin/env bash
# Every Python of this machine, one a line: STATUS <tab> VERSION <tab> PATH <tab> WHY NOT. Oldest first.
# STATUS is `fits` or `left-out`. Looks at $PYTHON, PATH and pyenv's versions.
set -uo pipefail

probe='
import os, sys
version = ".".join(str(part) for part in sys.version_info[:3])
why = ""
if sys.version_info[:2] < (3, 11):
    why = "older than 3.11"
elif sys.version_info[3] != "final":
    why = "not a final release"
elif sys.implementation.name != "cpython":
    why = "not CPython"
elif hasattr(sys, "_is_gil_enabled") and not sys._is_gil_enabled():
    why = "a free-threaded build"
elif sys.prefix != sys.base_prefix:
    why = "a virtual environment"
print("\t".join(["left-out" if why else "fits", version, os.path.realpath(sys.executable), why]))
'

candidates() {
    [ -n "${PYTHON:-}" ] && command -v "$PYTHON"
    local folder
    local IFS=:
    for folder in $PATH; do
        compgen -G "$folder/python3" || true
        compgen -G "$folder/python3.[0-9]*" | grep -E '/python3\.[0-9]+$' || true
    done
    compgen -G "${PYENV_ROOT:-$HOME/.pyenv}/versions/*/bin/python" || true
}

candidates | while read -r python; do
    # A pyenv shim of a version that is not active, or Python 2, says nothing here.
    timeout 20 "$python" -c "$probe" 2>/dev/null </dev/null
done | sort -t "$(printf '\t')" -k2,2V -u -k3,3 | grep -v 'a virtual environment'
exit 0
