"""`pod.affinity`: which nodes the pods need or prefer, and near which pods. As in Kubernetes, within one namespace."""

# ruff: noqa: RUF012 -- pydantic copies defaults; ruff does not see that Section is a model

from typing import Annotated, Literal

from pydantic import Field

from deepseek_operator.api.fields import LabelKey, LabelValue, Section

_MAX = 16
Weight = Annotated[int, Field(ge=1, le=100)]
Values = Annotated[list[Annotated[str, Field(max_length=63)]], Field(max_length=64)]


class NodeExpression(Section):
    """A requirement on a node's label."""

    key: LabelKey
    """The label's key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How the label is compared."""
    values: Values = []
    """With what: `In` and `NotIn` take some, `Gt` and `Lt` one whole number, the others none."""


class NodeTerm(Section):
    """Requirements that a node meets together."""

    match_expressions: Annotated[list[NodeExpression], Field(min_length=1, max_length=_MAX)]
    """All of these."""


class NodeTerms(Section):
    """Nodes that meet at least one of several terms."""

    node_selector_terms: Annotated[list[NodeTerm], Field(min_length=1, max_length=_MAX)]
    """Any of these."""


class PreferredNodes(Section):
    """Nodes that are better than others."""

    weight: Weight
    """How much better."""
    preference: NodeTerm
    """Which nodes."""


class NodeAffinity(Section):
    """Nodes that the pods need or prefer."""

    required_during_scheduling_ignored_during_execution: NodeTerms | None = None
    """Needed."""
    preferred_during_scheduling_ignored_during_execution: Annotated[list[PreferredNodes], Field(max_length=_MAX)] = []
    """Preferred."""


class LabelExpression(Section):
    """A requirement on a pod's label."""

    key: LabelKey
    """The label's key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label is compared."""
    values: Values = []
    """With what: `In` and `NotIn` take some, the others none."""


class LabelSelector(Section):
    """Pods by their labels."""

    match_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=_MAX)] = {}
    """Labels with their values."""
    match_expressions: Annotated[list[LabelExpression], Field(max_length=_MAX)] = []
    """Requirements, all of them."""


class PodTerm(Section):
    """Places where certain pods of the same namespace run."""

    label_selector: LabelSelector
    """Which pods."""
    topology_key: LabelKey
    """The label of nodes that makes them one place, such as kubernetes.io/hostname."""


class PreferredPods(Section):
    """Places that are better, or worse, than others."""

    weight: Weight
    """How much."""
    pod_affinity_term: PodTerm
    """Which places."""


class PodAffinity(Section):
    """Pods to be near, or apart from."""

    required_during_scheduling_ignored_during_execution: Annotated[list[PodTerm], Field(max_length=_MAX)] = []
    """Needed."""
    preferred_during_scheduling_ignored_during_execution: Annotated[list[PreferredPods], Field(max_length=_MAX)] = []
    """Preferred."""


class Affinity(Section):
    """Which nodes the pods need or prefer, and near which pods."""

    node_affinity: NodeAffinity | None = None
    """Nodes."""
    pod_affinity: PodAffinity | None = None
    """Pods to be near."""
    pod_anti_affinity: PodAffinity | None = None
    """Pods to be apart from."""
