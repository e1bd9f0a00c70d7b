#!/usr/bin/env bash
# Resolves pyproject.toml into two files of exact versions with hashes that name no host:
#   requirements.lock        everything but torch, for all of [dev]
#   requirements-torch.lock  torch as the package index has it, with its CUDA libraries; scripts/setup.sh uses
#                            it only where no CPU build is to be had
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build

uv=uv
command -v uv >/dev/null || uv=.venv/bin/uv
"$uv" pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
    --generate-hashes --no-emit-index-url --no-header --quiet --output-file build/all.lock "$@"

# A package is its line and the indented ones that follow.
awk '
    /^[^ #]/ { out = /^(torch|triton|nvidia-[a-z0-9-]*|cuda-[a-z0-9-]*)==/ ? "requirements-torch.lock" : "requirements.lock" }
    { print > (out ".new") }
' out=requirements.lock build/all.lock
for file in requirements.lock requirements-torch.lock; do mv "$file.new" "$file"; done
