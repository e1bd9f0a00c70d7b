#!/usr/bin/env bash
# Makes .venv with all that development, tests and the demo need. Done already: returns at once.
#
# PYTHON  the interpreter to use (default: the oldest that fits, which is what the lock is tested with)
# WHEELS  a folder of wheels with a CPU build of torch; without it, or without a build that fits, torch's own
#         CPU builds are tried, and at last the package index's build, which brings CUDA (4 GB)
set -euo pipefail
cd "$(dirname "$0")/.."

# Two makes at once: the second waits, then finds all done.
mkdir -p build
exec 9> build/.setup.lock
flock --timeout 1800 9

venv=.venv
stamp=$venv/.setup
state=$(cat pyproject.toml requirements.lock requirements-torch.lock scripts/setup.sh | sha256sum)
torch=$(grep -oE '^torch==[0-9.]+' requirements-torch.lock)

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

find_python() {
    scripts/pythons.sh | awk -F '\t' '$1 == "fits" { print $3; exit }'
}

# A virtual environment that brings pip, for machines without uv. Debian packs ensurepip apart.
venv_with_pip() {
    local python=$1 version
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] ||
            die "$python cannot make virtual environments: install python$version-venv (or uv), then run this again"
        say "installing python$version-venv"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "python$version-venv" >/dev/null
    fi
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
}

find_uv() {
    local candidate
    for candidate in "$(command -v uv || true)" "$venv/bin/uv"; do
        # `uv` may be a shim with nothing behind it, or too old to know --torch-backend.
        if [ -n "$candidate" ] && "$candidate" pip install --help 2>/dev/null | grep -q torch-backend; then
            printf '%s' "$candidate"
            return
        fi
    done
}

make_venv() {
    local python
    if "$venv/bin/python" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; then return; fi
    python=$(find_python)
    [ -n "$python" ] || die "no Python from 3.11 on: install one (python3.11, say), or name it in PYTHON"
    say "making $venv with $python"
    rm -rf "$venv"
    uv=$(find_uv)
    if [ -n "$uv" ]; then "$uv" venv --quiet --python "$python" "$venv"; else venv_with_pip "$python"; fi
}

has_torch() {
    "$venv/bin/python" -c '
import sys
from importlib.metadata import version
raise SystemExit(version("torch").partition("+")[0] != sys.argv[1])' "${torch#torch==}" 2>/dev/null
}

install() { "$uv" pip install --quiet --python "$venv/bin/python" --compile-bytecode --no-deps "$@"; }

has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi --list-gpus 2>/dev/null | grep -q GPU; }

install_torch() {
    if has_torch; then return; fi
    if [ -n "${WHEELS:-}" ]; then
        install --no-index --find-links "$WHEELS" "$torch" 2>/dev/null && return
        say "no $torch for this Python in WHEELS=$WHEELS"
    fi
    if ! has_gpu; then
        install --torch-backend=cpu "$torch" 2>/dev/null && return
        say "torch's CPU builds cannot be reached from here: taking the package index's (4 GB)"
    fi
    install --require-hashes -r requirements-torch.lock
}

if [ "$(cat "$stamp" 2>/dev/null)" != "$state" ]; then
    export UV_PYTHON_DOWNLOADS=never
    make_venv
    uv=$(find_uv)
    [ -n "$uv" ] || { "$venv/bin/python" -m pip install --quiet 'uv>=0.9'; uv=$venv/bin/uv; }
    say "installing what requirements.lock names"
    install --require-hashes -r requirements.lock
    install_torch
    install --no-build-isolation --editable .
    printf '%s\n' "$state" > "$stamp"
fi

# numba kernels are compiled here, not in a server that somebody waits for.
kernels=runtime/deepseek_runtime/compression
if [ -e $kernels/warm.py ]; then
    state=$(cat $kernels/*.py "$stamp" | sha256sum)
    if [ "$(cat "$venv/.kernels" 2>/dev/null)" != "$state" ]; then
        say "compiling kernels"
        PYTHONPATH=runtime:operator "$venv/bin/python" -m deepseek_runtime.compression.warm
        printf '%s\n' "$state" > "$venv/.kernels"
    fi
fi
