"""Images of the Dockerfile for a test cluster: built by scripts/images.sh with buildah, as archives for the nodes."""

from pathlib import Path
from typing import Final

from testcluster.commands import run
from testcluster.layout import ROOT

REPOSITORY: Final = "local"
TARGETS: Final = ("operator", "runtime", "etcd")
BUILDING: Final = 3600.0
"""Seconds. From nothing, with a base image made by debootstrap, it is some minutes."""


def name(target: str, tag: str) -> str:
    """What a pod calls the image; nodes that have it pull nothing (imagePullPolicy IfNotPresent)."""
    return f"docker.io/{REPOSITORY}/{target}:{tag}"


def build(target: str, tag: str = "test") -> Path:
    """The archive of one target of the Dockerfile, to `load` into a cluster. Layers that did not change are kept.

    WHEELS in the environment names a folder with a CPU build of torch. Raises CommandFailed.
    """
    folder = ROOT / "build" / "images" / f"archives-{tag}"
    environment = {"BUILDER": "buildah", "REPOSITORY": REPOSITORY, "TAG": tag, "ARCHIVES": str(folder)}
    run(ROOT / "scripts" / "images.sh", target, environment=environment, timeout=BUILDING)
    return folder / f"{target}.tar"


def derived(folder: Path, target: str, tag: str) -> Path:
    """The archive of an image made by the Dockerfile in `folder` from one that `build` made. Raises CommandFailed."""
    archive = folder / f"{target}.tar"
    environment = {"STORAGE_DRIVER": "overlay", "BUILDAH_ISOLATION": "chroot"}
    run("buildah", "bud", "--tag", name(target, tag), folder, environment=environment, timeout=BUILDING)
    archived = f"oci-archive:{archive}:{name(target, tag)}"
    compression = ("--compression-format", "zstd", "--compression-level", "1")
    run("buildah", "push", *compression, name(target, tag), archived, environment=environment, timeout=BUILDING)
    return archive
