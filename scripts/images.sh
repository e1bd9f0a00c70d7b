#!/usr/bin/env bash
# Builds the images of the Dockerfile: scripts/images.sh [TARGET ...] (default: operator runtime etcd)
#
# BUILDER     docker or buildah (default: docker where its daemon answers, else buildah)
# BASE_IMAGE  a Debian with python3 and venv (default: the Dockerfile's; where that cannot be pulled, root with buildah
#             makes one with debootstrap)
# WHEELS      a folder with a CPU build of torch
# REPOSITORY  before the names (default: deepseek-operator, so deepseek-operator/runtime); may begin with a registry
# TAG         default: the version
# ARCHIVES    a folder: each image is also written there as TARGET.tar, an OCI archive (buildah only)
# PIP_INDEX_URL, PIP_CERT, SSL_CERT_FILE  are used while building, and do not end up in an image
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'images: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

targets=("$@")
[ $# -gt 0 ] || targets=(operator runtime etcd)
version=$(sed -n 's/^VERSION.*= "\(.*\)"/\1/p' runtime/deepseek_runtime/contract/version.py)
tag=${TAG:-$version}
repository=${REPOSITORY:-deepseek-operator}

builder=${BUILDER:-}
if [ -z "$builder" ]; then
    if timeout 10 docker info >/dev/null 2>&1; then builder=docker
    elif command -v buildah >/dev/null; then builder=buildah
    else die "neither a Docker that answers nor buildah is here: install buildah (apt-get install buildah)"
    fi
fi

# One build at a time: two would do the same work twice.
mkdir -p build/images
exec 9> build/images/.lock
flock --timeout 3600 9

if [ "$builder" = buildah ]; then
    export STORAGE_DRIVER=${STORAGE_DRIVER:-overlay} BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}
fi

# For machines whose Docker Hub is out of reach: Debian's own packages, from where this machine gets its.
debian_base() {
    local name=localhost/deepseek-base:bookworm root mirror container
    if ! buildah inspect --type image "$name" >/dev/null 2>&1; then
        command -v debootstrap >/dev/null && [ "$(id -u)" = 0 ] ||
            die "the base image cannot be pulled: set BASE_IMAGE, or run this as root with debootstrap installed"
        mirror=$(sed -nE 's/^(URIs: |deb (\[[^]]*\] )?)(https?:[^ ]+debian\/?)( .*)?$/\3/p' \
            /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -n 1)
        say "making a base image with debootstrap"
        root=$(mktemp -d)
        debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root" ${mirror:+"$mirror"} \
            > build/images/debootstrap.log 2>&1 || die "debootstrap failed: see build/images/debootstrap.log"
        rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*
        container=$(buildah from scratch)
        buildah add --quiet "$container" "$root" / > /dev/null
        buildah commit --quiet --rm "$container" "$name" > /dev/null
        rm -rf "$root"
    fi
    printf '%s' "$name"
}

base=${BASE_IMAGE:-}
if [ -z "$base" ] && [ "$builder" = buildah ]; then
    base=$(sed -n 's/^ARG BASE_IMAGE=//p' Dockerfile)
    timeout 120 buildah pull --quiet --policy missing "$base" >/dev/null 2>&1 || base=$(debian_base)
fi

private=$(mktemp -d)
trap 'rm -rf "$private"' EXIT
options=()
[ -z "$base" ] || options+=(--build-arg "BASE_IMAGE=$base")
[ -z "${WHEELS:-}" ] || options+=(--build-context "wheels=$(cd "$WHEELS" && pwd)")
certificates=${PIP_CERT:-${SSL_CERT_FILE:-}}
{
    printf '[global]\n'
    [ -z "${PIP_INDEX_URL:-}" ] || printf 'index-url = %s\n' "$PIP_INDEX_URL"
} > "$private/pip.conf"
options+=(--secret "id=pip,src=$private/pip.conf")
[ -z "$certificates" ] || options+=(--secret "id=ca,src=$certificates")

for target in "${targets[@]}"; do
    name=$repository/$target:$tag
    say "building $name with $builder"
    if [ "$builder" = docker ]; then
        docker build "${options[@]}" --target "$target" --tag "$name" .
    else
        # Names as a container runtime completes them.
        case $repository in *.*/* | localhost*) ;; *) name=docker.io/$name ;; esac
        buildah bud --layers --network host "${options[@]}" --target "$target" --tag "$name" . > "build/images/$target.log" 2>&1 ||
            { tail -n 30 "build/images/$target.log" >&2; die "building $target failed: see build/images/$target.log"; }
        if [ -n "${ARCHIVES:-}" ]; then
            mkdir -p "$ARCHIVES"
            rm -f "$ARCHIVES/$target.tar"
            buildah push --quiet --compression-format zstd --compression-level 1 "$name" "oci-archive:$ARCHIVES/$target.tar:$name"
        fi
    fi
    say "$name is ready"
done
