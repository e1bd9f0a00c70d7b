"""Images of one static program, written as OCI archives without any tool: for sandboxes and for tests."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

PAUSE: Final = "docker.io/local/pause:1"
"""What holds a pod's namespaces."""

PROBE: Final = "docker.io/local/probe:1"
"""A web server and a client, for pods that tests make: see go/probe."""

_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def write_small_images(folder: Path, programs: Path) -> list[Path]:
    """Archives of PAUSE and PROBE, made of the program `probe`."""
    files = {"probe": (programs / "probe").read_bytes()}
    pause, probe = folder / "pause.tar", folder / "probe.tar"
    write(pause, PAUSE, files, ["/probe", "wait"])
    write(probe, PROBE, files, ["/probe"])
    return [pause, probe]


def write(archive: Path, tag: str, files: Mapping[str, bytes], entrypoint: Sequence[str]) -> None:
    """An OCI archive of one layer with these programs (path -> content), which must not need libraries."""
    layer = _layer(files)
    machine = platform.machine()
    config = {
        "architecture": _MACHINES.get(machine, machine),
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint), "User": "65534:65534"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    blobs: dict[str, bytes] = {}
    kind = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": _add(blobs, json.dumps(config).encode(), f"{kind}.config.v1+json"),
        "layers": [_add(blobs, layer, f"{kind}.layer.v1.tar")],
    }
    described = _add(blobs, json.dumps(manifest).encode(), f"{kind}.manifest.v1+json")
    # containerd takes the first as the image's name, other tools the second.
    annotations = {"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": tag}
    index = {"schemaVersion": 2, "manifests": [{**described, "annotations": annotations}]}
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w") as tar:
        for name, content in {
            "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
            "index.json": json.dumps(index).encode(),
            **blobs,
        }.items():
            _put(tar, name, content, 0o644)


def _layer(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in files.items():
            _put(tar, path, content, 0o755)
    return buffer.getvalue()


def _put(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _add(blobs: dict[str, bytes], content: bytes, kind: str) -> dict[str, object]:
    digest = _digest(content)
    blobs[f"blobs/sha256/{digest.removeprefix('sha256:')}"] = content
    return {"mediaType": kind, "digest": digest, "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
