"""Images written without a tool are what the OCI image layout says."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from testcluster.archives import write


def test_every_blob_is_what_its_digest_says_down_to_the_program(tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    write(archive, "docker.io/local/one:1", {"one": b"a program"}, ["/one", "wait"])

    with tarfile.open(archive) as tar:
        members = {entry.name: tar.extractfile(entry) for entry in tar.getmembers()}
        content = {name: file.read() for name, file in members.items() if file is not None}

    def blob(described: dict[str, Any]) -> bytes:
        found = content["blobs/" + described["digest"].replace(":", "/")]
        assert len(found) == described["size"]
        assert f"sha256:{hashlib.sha256(found).hexdigest()}" == described["digest"]
        return found

    (described,) = json.loads(content["index.json"])["manifests"]
    assert described["annotations"]["io.containerd.image.name"] == "docker.io/local/one:1"
    manifest = json.loads(blob(described))
    config = json.loads(blob(manifest["config"]))
    (layer,) = manifest["layers"]
    assert config["config"] == {"Entrypoint": ["/one", "wait"], "User": "65534:65534"}
    assert config["rootfs"]["diff_ids"] == [layer["digest"]]
    with tarfile.open(fileobj=io.BytesIO(blob(layer))) as tar:
        program = tar.getmember("one")
        assert program.mode & 0o111
        opened = tar.extractfile(program)
        assert opened is not None
        assert opened.read() == b"a program"
