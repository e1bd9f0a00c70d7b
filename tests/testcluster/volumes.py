"""PersistentVolumes of a test: folders of this machine that every node sees, so ReadWriteMany is true of them.

The cluster has no default StorageClass and no provisioner, as the poorest clusters have not: a test makes its volumes
before it claims them.
"""

from typing import Literal

from testcluster.layout import Layout

AccessMode = Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]


def storage_class(name: str) -> dict[str, object]:
    """A StorageClass whose volumes are made by hand."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def volume(layout: Layout, name: str, mode: AccessMode, *, of_class: str, size: str = "1Gi") -> dict[str, object]:
    """A PersistentVolume, and the empty folder behind it, which anybody may write to.

    Nobody enforces `size`, nor an access mode, but that a claim must ask for one that the volume has.
    """
    folder = layout.volumes / name
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": [mode],
            "capacity": {"storage": size},
            "storageClassName": of_class,
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": f"/var/lib/volumes/{name}", "type": "Directory"},
        },
    }
