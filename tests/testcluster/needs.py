"""What this machine lacks for a cluster of our own, said so that one can act on it."""

import os
import platform
import shutil
from pathlib import Path
from typing import Final

PACKAGES: Final = {
    "containerd": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "nft": "nftables",
    "conntrack": "conntrack",
    "socat": "socat",
    "ethtool": "ethtool",
    "nsenter": "util-linux",
    "mount": "mount",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
}
"""Program -> the Debian package that has it. `scripts/cluster-packages.sh` installs them."""

IMAGE_PACKAGES: Final = {"buildah": "buildah", "debootstrap": "debootstrap"}
"""What images are built with."""


def why_not() -> str | None:
    """Why no cluster can be started here, in one sentence; None when nothing stands against it."""
    if platform.system() != "Linux":
        return f"a test cluster needs Linux, this is {platform.system()}"
    if os.geteuid() != 0:
        return "a test cluster needs root (network namespaces, containerd)"
    missing = missing_packages(PACKAGES)
    if missing:
        return f"a test cluster needs {' '.join(missing)}: scripts/cluster-packages.sh installs them on Debian"
    return None


def installable() -> bool:
    """Whether what is missing can be installed by scripts/cluster-packages.sh: to lack it is no excuse then."""
    return platform.system() == "Linux" and os.geteuid() == 0 and shutil.which("apt-get") is not None


def missing_packages(wanted: dict[str, str]) -> list[str]:
    """The packages whose programs are not there, sorted."""
    return sorted({package for program, package in wanted.items() if not _there(program)})


def _there(program: str) -> bool:
    if program.startswith("/"):
        return Path(program).exists()
    # Not everybody has these on PATH.
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None
