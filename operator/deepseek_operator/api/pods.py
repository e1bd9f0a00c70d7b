"""What a job's author may ask for in the pods of its members: an allow-list, for the operator's rights are not theirs.

On one machine all of it is ignored, with one line that says so.
"""

# ruff: noqa: RUF012 -- pydantic copies defaults; ruff does not see that Section is a model

from typing import Annotated, Literal

from pydantic import Field

from deepseek_operator.api.affinity import Affinity
from deepseek_operator.api.fields import MAX_SECONDS, LabelKey, LabelValue, ObjectName, Quantity, Right, Section, keyed
from deepseek_operator.api.volumes import MAX_VOLUMES, Volume, VolumeMount

Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=64)]
Amounts = Annotated[dict[str, Quantity], Field(max_length=32)]


class Resources(Section):
    """What one member asks of its node, as in a container of Kubernetes."""

    requests: Amounts = {}
    """What the scheduler sets aside, such as `cpu: 2` and `memory: 4Gi`."""
    limits: Amounts = {}
    """What the member may never exceed, such as `memory: 8Gi` and `nvidia.com/gpu: 1`."""


class Toleration(Section):
    """A taint of a node that the member bears."""

    key: Annotated[str, Field(max_length=317)] = ""
    """The taint's key; empty together with `operator: Exists`: every taint."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """How key and value are compared."""
    value: Annotated[str, Field(max_length=63)] = ""
    """The taint's value."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """The taint's effect; empty: all."""
    toleration_seconds: Annotated[int, Field(ge=0, le=MAX_SECONDS)] | None = None
    """How long a NoExecute taint is borne; absent: for ever."""


class EnvVar(Section):
    """A variable in the member's environment."""

    name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256),
        Right("a name of letters, digits and '_', such as OMP_NUM_THREADS"),
    ]
    """Its name; names that begin with DSJ_ are the operator's own."""
    value: Annotated[str, Right("text; numbers and true/false in quotes")] = ""
    """Its value."""


class PullSecret(Section):
    """A Secret of the job's namespace that opens the image's registry."""

    name: ObjectName
    """The Secret's name."""


class Pod(Section):
    """What may be set in the pods of a role."""

    labels: Labels = {}
    """Labels beside the operator's own."""
    annotations: Annotated[dict[LabelKey, str], Field(max_length=64)] = {}
    """Annotations beside the operator's own."""
    node_selector: Labels = {}
    """Labels that a node must have."""
    tolerations: Annotated[list[Toleration], Field(max_length=64)] = []
    """Taints that the pods bear."""
    affinity: Affinity | None = None
    """Which nodes the pods need or prefer, and near which pods, as in Kubernetes."""
    volumes: Annotated[list[Volume], Field(max_length=MAX_VOLUMES, json_schema_extra=keyed("name"))] = []
    """Volumes of the kinds that give no rights on a node."""
    volume_mounts: Annotated[
        list[VolumeMount], Field(max_length=MAX_VOLUMES, json_schema_extra=keyed("mountPath"))
    ] = []
    """Where the members see them."""
    env: Annotated[list[EnvVar], Field(max_length=256, json_schema_extra=keyed("name"))] = []
    """Variables of the environment."""
    priority_class_name: ObjectName | None = None
    """The pods' PriorityClass."""
    image_pull_secrets: Annotated[list[PullSecret], Field(max_length=16)] = []
    """Secrets that open the image's registry."""
