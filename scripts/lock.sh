#!/usr/bin/env bash
# Resolves pyproject.toml into files of exact versions with hashes that name no host:
#   requirements.lock        everything but torch, for all of [dev]
#   requirements-torch.lock  torch as the package index has it, with its CUDA libraries; used only where no CPU
#                            build is to be had, and in the image runtime-gpu
#   images/*.lock            what each image installs, at the versions of requirements.lock (torch apart, as above)
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build

uv=uv
command -v uv >/dev/null || uv=.venv/bin/uv

resolve() {
    local out=$1
    shift
    "$uv" pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
        --output-file "$out" "$@"
}

resolve build/all.lock pyproject.toml --extra dev "$@"

# A package is its line and the indented ones that follow.
split() {
    awk -v rest="$2" -v torch="$3" '
        /^[^ #]/ { out = /^(torch|triton|nvidia-[a-z0-9-]*|cuda-[a-z0-9-]*)==/ ? torch : rest }
        { print > out }
    ' out="$2" "$1"
}
split build/all.lock requirements.lock.new requirements-torch.lock.new
for file in requirements.lock requirements-torch.lock; do mv "$file.new" "$file"; done

# What stands in the output file already is kept where it fits: so all files agree.
for image in operator runtime; do cp build/all.lock "build/$image.lock"; done
resolve build/operator.lock pyproject.toml
resolve build/runtime.lock pyproject.toml --extra runtime --extra tasks --extra store --extra s3
split build/runtime.lock images/runtime.lock /dev/null
mv build/operator.lock images/operator.lock
resolve images/build.lock images/build.in
