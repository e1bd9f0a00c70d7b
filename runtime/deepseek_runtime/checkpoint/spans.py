"""One span as a part of a checkpoint: the tensors' names, and what stands in the metadata (docs/formats/checkpoint.md).

theta          float32 [n]   the weights; p is not stored: after a restore p = theta
applied        int64 [1+k]   the watermark (all ranges below it are in), then the k ranges above it
skipped        int64 [m]     ranges that are in as skipped
integers       int64 [i]     span 0 only: the integer buffers
rule/<name>    float32       state of the server's rule (momentum ...)
"""

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from deepseek_runtime.checkpoint.index import part_path
from deepseek_runtime.checkpoint.read import read_part_with_metadata
from deepseek_runtime.checkpoint.store import Store, StoreError
from deepseek_runtime.checkpoint.tensors import Array
from deepseek_runtime.checkpoint.write import write_part
from deepseek_runtime.contract.version import CHECKPOINT_VERSION
from deepseek_runtime.protocol.applied import AppliedSet
from deepseek_runtime.protocol.effects import PartData
from deepseek_runtime.protocol.files import FileRef

_RULE: Final = "rule/"
_AT_ONCE: Final = 4
"""Files."""


def write_span(store: Store, term: int, step: int, data: PartData) -> FileRef:
    """Stores one span. Raises StoreError."""
    above = sorted(data.applied.above)
    tensors: dict[str, Array] = {
        "theta": data.theta,
        "applied": np.array([data.applied.watermark, *above], np.int64),
        "skipped": np.array(sorted(data.skipped), np.int64),
    }
    if data.integers is not None:
        tensors["integers"] = data.integers
    tensors.update({_RULE + name: array for name, array in data.extra.items()})
    metadata = {
        "version": str(CHECKPOINT_VERSION),
        "term": str(term),
        "step": str(step),
        "span": str(data.span),
        "ordinal": str(data.ordinal),
        "lost": repr(data.lost),
        "pushed": repr(data.pushed),
        "residuals": json.dumps(data.residuals, sort_keys=True),
        "rule": json.dumps(data.extra_scalars, sort_keys=True),
    }
    return write_part(store, part_path(term, step, data.span), tensors, metadata)


def write_spans(store: Store, term: int, step: int, parts: Sequence[PartData], done: dict[int, FileRef]) -> None:
    """Stores those that `done` lacks, and adds them to it: a few at a time, since a disk's sync and a checksum wait for
    different things. What is written is let go, so that its span need not be copied when it changes. Raises StoreError
    (the first), when nothing is under way any more.
    """
    left = iter([part for part in parts if part.span not in done])
    turn = threading.Lock()
    errors: list[Exception] = []

    def write() -> None:
        while not errors:
            with turn:
                part = next(left, None)
            if part is None:
                return
            try:
                file = write_span(store, term, step, part)
            except Exception as error:  # noqa: BLE001 - raised again by whoever waits for this thread
                errors.append(error)
                return
            part.let_go()
            done[part.span] = file

    helpers = [threading.Thread(target=write, name=f"checkpoint-writer-{k}", daemon=True) for k in range(1, _AT_ONCE)]
    for helper in helpers:
        helper.start()
    write()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]


def read_span(store: Store, ref: FileRef, span: int) -> PartData:
    """The inverse of `write_span`. Raises StoreError: damaged also when the part is of another span."""
    tensors, metadata = read_part_with_metadata(store, ref)
    where = f"{store.uri}/{ref.path}"
    try:
        return _decode(tensors, metadata, span)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise StoreError("damaged", f"{where} is no part of span {span}: {error}") from error


def _decode(tensors: Mapping[str, Array], metadata: Mapping[str, str], span: int) -> PartData:
    if int(metadata["span"]) != span:
        raise ValueError(f"it is of span {metadata['span']}")
    applied = [int(g) for g in tensors["applied"]]
    return PartData(
        span=span,
        theta=np.asarray(tensors["theta"], np.float32),
        applied=AppliedSet(applied[0], set(applied[1:])),
        skipped={int(g) for g in tensors["skipped"]},
        ordinal=int(metadata["ordinal"]),
        lost=float(metadata["lost"]),
        residuals=_floats(metadata["residuals"]),
        pushed=float(metadata["pushed"]),
        integers=tensors.get("integers"),
        extra={name.removeprefix(_RULE): array for name, array in tensors.items() if name.startswith(_RULE)},
        extra_scalars=_floats(metadata["rule"]),
    )


def _floats(text: str) -> dict[str, float]:
    document: Any = json.loads(text)
    return {str(name): float(value) for name, value in document.items()}
