"""`pod.volumes` and `pod.volumeMounts`: as in Kubernetes, but only kinds that give no rights on a node.

A host path, a projected service-account token and the like have no field here, so nobody gets them through a job.
"""

from typing import Annotated, Literal

from pydantic import Field

from deepseek_operator.api.fields import DnsLabel, ObjectName, Quantity, Right, Section
from deepseek_runtime.contract.names import MAX_NAME

MAX_VOLUMES = 32
VolumeName = Annotated[DnsLabel, Field(max_length=MAX_NAME)]


class ConfigMapVolume(Section):
    """Files from a ConfigMap."""

    name: ObjectName
    """The ConfigMap's name."""


class SecretVolume(Section):
    """Files from a Secret."""

    secret_name: ObjectName
    """The Secret's name."""


class EmptyDirVolume(Section):
    """A folder that begins empty and ends with its pod."""

    medium: Literal["", "Memory"] = ""
    """Empty: the node's disk. `Memory`: its memory, counted as the member's."""
    size_limit: Quantity | None = None
    """What it may hold at most."""


class ClaimVolume(Section):
    """A PersistentVolumeClaim."""

    claim_name: ObjectName
    """The claim's name."""
    read_only: bool = False
    """True: nobody writes."""


class Volume(Section):
    """A volume of the pods; exactly one kind."""

    name: VolumeName
    """By which `volumeMounts` call it; names that begin with dsj- are the operator's own."""
    config_map: ConfigMapVolume | None = None
    """Files from a ConfigMap."""
    secret: SecretVolume | None = None
    """Files from a Secret."""
    empty_dir: EmptyDirVolume | None = None
    """A folder that begins empty."""
    persistent_volume_claim: ClaimVolume | None = None
    """A PersistentVolumeClaim."""

    @property
    def kinds(self) -> int:
        """How many kinds are given: 1 when it is right."""
        given = (self.config_map, self.secret, self.empty_dir, self.persistent_volume_claim)
        return sum(kind is not None for kind in given)


class VolumeMount(Section):
    """Where a volume is seen."""

    name: VolumeName
    """Of one of `volumes`."""
    mount_path: Annotated[
        str, Field(pattern=r"^/[^/:]([^:]*[^/:])?$", max_length=1024), Right("an absolute path, such as /data")
    ]
    """Where, inside the container."""
    sub_path: Annotated[str, Field(max_length=1024), Right("a folder inside the volume, such as images")] = ""
    """A folder inside the volume; empty: all of it."""
    read_only: bool = False
    """True: the members cannot write."""
