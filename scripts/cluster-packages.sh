#!/usr/bin/env bash
# Installs what a test cluster (make cluster-up) and images (make images) need from Debian, when root; else says what is
# missing. Installed already: returns at once.
set -euo pipefail

packages=(
    containerd runc containernetworking-plugins                      # nodes
    iproute2 nftables conntrack socat ethtool util-linux mount  # their networks
    buildah debootstrap                                              # images
)
missing=()
for package in "${packages[@]}"; do
    dpkg-query --show --showformat '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "cluster-packages: missing: ${missing[*]} (only root, on Debian or Ubuntu, can have this script install them)" >&2
    exit 1
fi
echo "cluster-packages: installing ${missing[*]}" >&2
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${missing[@]}" >/dev/null
