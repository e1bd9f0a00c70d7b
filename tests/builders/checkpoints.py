"""Checkpoints of a small model, written as a job writes them."""

import numpy as np

from deepseek_runtime.checkpoint.index import (
    Index,
    PartRef,
    StoredFile,
    fixed_path,
    write_base,
    write_index,
)
from deepseek_runtime.checkpoint.spans import write_span
from deepseek_runtime.checkpoint.store import Store
from deepseek_runtime.checkpoint.tensors import Array
from deepseek_runtime.checkpoint.write import digest_of, write_part
from deepseek_runtime.protocol.applied import AppliedSet
from deepseek_runtime.protocol.effects import PartData
from deepseek_runtime.protocol.lineage import Base, Step
from deepseek_runtime.space import F32, I64, Space, TensorSpec

SMALL_SPACE = Space.build(
    [TensorSpec("w", (3, 8), "float32"), TensorSpec("mean", (4,), "float32", role="buffer")],
    [TensorSpec("seen", (), "int64")],
    spans=2,
    chunk=8,
)
"""Four chunks of 8 elements in two spans."""


def a_checkpoint(
    store: Store,
    term: int,
    step: int,
    *,
    space: Space = SMALL_SPACE,
    theta: F32 | None = None,
    integers: I64 | None = None,
    fixed: dict[str, Array] | None = None,
    aliases: dict[str, str] | None = None,
    parent: Step | None = None,
) -> Index:
    """Writes parts, then the index. Each element of theta is `step` unless given."""
    values = np.full(space.size, step, np.float32) if theta is None else theta
    counts = np.full(space.integers_size, step, np.int64) if integers is None else integers
    parts = []
    for span in space.spans:
        data = PartData(
            span.index,
            values[span.start : span.stop],
            AppliedSet(step),
            set(),
            ordinal=step,
            lost=0.0,
            residuals={},
            pushed=0.0,
            integers=counts if span.index == 0 else None,
        )
        ref = write_span(store, term, step, data)
        parts.append(PartRef(span=span.index, path=ref.path, sha256=ref.sha256, size=ref.size))
    fixed_file = None
    if fixed is not None:
        fixed_file = StoredFile.of(write_part(store, fixed_path(digest_of(fixed)), fixed, {}))
    index = Index(
        job="small",
        term=term,
        step=step,
        parent=parent,
        created="2026-01-01T00:00:00Z",
        space=space.to_json(),
        aliases=aliases or {},
        parts=tuple(parts),
        fixed=fixed_file,
        samples=100,
        batch_size=4,
        local_steps=2,
        seed=7,
        steps_total=1000,
    )
    return write_index(store, index)


def a_job(store: Store, bases: dict[int, Base], steps: dict[int, list[int]]) -> None:
    """Bases and checkpoints of a job that went through several terms."""
    for term, base in bases.items():
        write_base(store, term, base)
    for term, written in steps.items():
        for step in written:
            a_checkpoint(store, term, step)
