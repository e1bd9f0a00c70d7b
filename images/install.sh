#!/bin/sh
# Runs inside the Dockerfile's build stages: puts into /opt/dsj
#   locked FILE      what FILE pins by hashes
#   torch-cpu FILE   torch at the version that FILE pins: from the folder WHEELS, from torch's own CPU builds, or FILE's
#   torch-cuda FILE  torch and its CUDA libraries, as FILE pins them
#   package          our own wheel, from /build/dist
#   kernels          the compression kernels, compiled
# What package and kernels put there also lies below /opt/package: the one layer that changes with each commit.
set -eu

if [ -s /run/secrets/ca ]; then
    export PIP_CERT=/run/secrets/ca SSL_CERT_FILE=/run/secrets/ca
fi
pip() {
    /opt/build/bin/python -m pip --python /opt/dsj/bin/python --quiet --disable-pip-version-check \
        install --no-cache-dir --no-deps --root-user-action ignore "$@"
}
say() { printf 'install.sh: %s\n' "$*" >&2; }

torch_cpu() {
    torch=$(grep -oE '^torch==[0-9.]+' "$1")
    if ls "$WHEELS"/torch-*.whl >/dev/null 2>&1; then
        pip --no-index --find-links "$WHEELS" "$torch" && return
        say "the build context wheels has no $torch for this Python"
    fi
    /opt/build/bin/uv pip install --quiet --no-cache --no-deps --python /opt/dsj/bin/python --torch-backend=cpu "$torch" && return
    say "torch's CPU builds cannot be reached from here: taking the package index's (4 GB)"
    pip --require-hashes -r "$1"
}

case $1 in
    locked | torch-cuda) pip --require-hashes -r "$2" ;;
    torch-cpu)
        torch_cpu "$2"
        rm -rf /opt/dsj/lib/python3*/site-packages/torch/test  # compiled tests of torch's own, 80 MB
        ;;
    package)
        pip --no-index /build/dist/*.whl
        pip --no-index --ignore-installed --root /opt/package /build/dist/*.whl
        ;;
    kernels)
        NUMBA_CACHE_DIR=/opt/dsj/kernels /opt/dsj/bin/python -m deepseek_runtime.compression.warm
        mkdir -p /opt/package/opt/dsj
        cp -a /opt/dsj/kernels /opt/package/opt/dsj/
        ;;
    *) say "unknown: $1"; exit 64 ;;
esac
