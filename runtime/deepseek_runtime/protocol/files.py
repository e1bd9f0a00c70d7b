"""Files of the checkpoint store, as members name them to one another."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileRef:
    """A whole file in the store."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint as the chief hands it round."""

    term: int
    step: int
    parts: Mapping[int, FileRef]
    """By span."""
    weights_only: bool = False
    """restoreFrom with other samples, batchSize, localSteps or seed: no applied sets."""
    foreign: bool = False
    """The parts lie where restoreFrom says, not in the job's own folder."""
    cut: int = -1
    """The last range of a shorter job, which was cut at its end: trained again, whole."""
