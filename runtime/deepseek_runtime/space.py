"""The parameter space: where each tensor of a model lies in one float32 vector, and how that vector is cut.

The vector consists of chunks of 4,096 elements. Tensors of one kind and one parameter group lie beside each
other in the model's own order; each such region begins at a chunk boundary, so a chunk never mixes kinds.

    weights   parameters of at least a chunk: what compression is for
    small     parameters under a chunk (norms, biases)
    buffers   float buffers (BatchNorm's statistics)

Spans are runs of chunks, cut once at the job's start and never again; nothing here depends on the number of
servers. Integer buffers lie in a vector of their own. Pure: no torch, no I/O.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
Kind = Literal["weights", "small", "buffers"]

CHUNK: Final = 4096
SPANS: Final = 64
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
FLOATS: Final = frozenset({"float16", "bfloat16", "float32", "float64"})
INTEGERS: Final = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"})
LAYOUT_VERSION: Final = 1


class SpaceError(ValueError):
    """A model or a stored table that cannot be a parameter space; the message names the tensor or field."""


def zeros(size: int) -> F32:
    return np.zeros(size, np.float32)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor of the model. dtype: plain (`float32`) or torch's way (`torch.float32`); group: its parameter group."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: Literal["parameter", "buffer"] = "parameter"
    group: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """Where a float tensor lies: elements offset to offset + size of the vector."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: Kind
    group: int
    offset: int
    size: int

    @property
    def stop(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class IntegerBuffer:
    """Where an integer buffer lies in the vector of integers."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Run:
    """A contiguous piece of one kind and group within a span, relative to the span's start.

    start is a multiple of the chunk; stop leaves out the padding at the end of the region.
    """

    kind: Kind
    group: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Span:
    """Elements start to stop of the vector, both multiples of the chunk."""

    index: int
    start: int
    stop: int
    runs: tuple[Run, ...]

    @property
    def size(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Space:
    """The layout of a model. Equal on every member of a job, or the member is refused (see `difference`).

    size: length of the vector with its padding, a multiple of chunk; parameters: trained elements, without
    buffers and padding.
    """

    segments: tuple[Segment, ...]
    integers: tuple[IntegerBuffer, ...]
    spans: tuple[Span, ...]
    size: int
    integers_size: int
    parameters: int
    chunk: int = CHUNK

    @classmethod
    def build(
        cls,
        specs: Iterable[TensorSpec],
        integer_specs: Iterable[TensorSpec] = (),
        spans: int = SPANS,
        chunk: int = CHUNK,
    ) -> Self:
        """Lays out float tensors (`specs`) and integer buffers in the order given; tied tensors are given once.

        At most `spans` spans of nearly equal numbers of chunks, each at least two chunks unless the whole
        vector is smaller. Raises SpaceError.
        """
        if spans < 1 or not 1 <= chunk <= CHUNK:
            raise SpaceError(f"spans must be at least 1 and chunk 1 to {CHUNK}, got {spans} and {chunk}")
        segments = _place([_classify(spec, chunk) for spec in specs], chunk)
        chunks = _padded_size(segments, chunk) // chunk
        count = min(spans, max(1, chunks // 2))
        bounds = [chunk * (index * chunks // count) for index in range(count + 1)]
        return cls._assemble(segments, _place_integers(integer_specs), bounds, chunk)

    @classmethod
    def _assemble(
        cls, segments: tuple[Segment, ...], integers: tuple[IntegerBuffer, ...], bounds: Sequence[int], chunk: int
    ) -> Self:
        _require_unique_names([*(segment.name for segment in segments), *(buffer.name for buffer in integers)])
        parameters = sum(segment.size for segment in segments if segment.kind != "buffers")
        if parameters == 0:
            raise SpaceError("the model has no parameter to train (none requires a gradient, or all are empty)")
        regions = _regions(segments)
        spans = tuple(
            Span(index, start, stop, _runs(regions, start, stop))
            for index, (start, stop) in enumerate(pairwise(bounds))
        )
        integers_size = sum(buffer.size for buffer in integers)
        return cls(segments, integers, spans, bounds[-1], integers_size, parameters, chunk)

    @cached_property
    def _identity(self) -> dict[str, list[list[Any]]]:
        return {
            "segments": [[s.name, list(s.shape), s.dtype, s.kind, s.group] for s in self.segments],
            "integers": [[b.name, list(b.shape), b.dtype] for b in self.integers],
        }

    def fingerprint(self) -> str:
        """sha256 (hex) of names, shapes, types, kinds and groups in order: differing models differ in it."""
        text = json.dumps(self._identity, separators=(",", ":"), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def difference(self, other: "Space") -> str | None:
        """None when both lay out the same model in the same cut, else a sentence that names the first difference."""
        for what, mine, theirs in (
            ("tensor", self.segments, other.segments),
            ("integer buffer", self.integers, other.integers),
        ):
            if sentence := _first_difference(what, mine, theirs):
                return sentence
        if (self.chunk, self.size) != (other.chunk, other.size):
            return f"chunks of {self.chunk} elements here, of {other.chunk} there"
        if self.spans != other.spans:
            return f"the vector is cut into {len(self.spans)} spans here and {len(other.spans)} there"
        return None

    def to_json(self) -> dict[str, Any]:
        """The table as JSON values (docs/formats: `segments`); `from_json` reads it back."""
        return {
            "version": LAYOUT_VERSION,
            "chunk": self.chunk,
            "size": self.size,
            "segments": [
                {"name": s.name, "shape": list(s.shape), "dtype": s.dtype, "kind": s.kind, "group": s.group,
                 "offset": s.offset}
                for s in self.segments
            ],
            "integers": [{"name": b.name, "shape": list(b.shape), "dtype": b.dtype} for b in self.integers],
            "spans": [span.start for span in self.spans],
        }  # fmt: skip

    @classmethod
    def from_json(cls, table: object) -> Self:
        """Reads what `to_json` wrote. Everything is checked; raises SpaceError with the field that is wrong."""
        root = _object(table, "the table")
        version = _integer(root, "version", "the table")
        if version != LAYOUT_VERSION:
            raise SpaceError(f"table of segments has version {version}, this runtime reads {LAYOUT_VERSION}")
        chunk = _integer(root, "chunk", "the table")
        if not 1 <= chunk <= CHUNK:
            raise SpaceError(f"chunk must be 1 to {CHUNK}, got {chunk}")
        entries = [_object(entry, "a segment") for entry in _list(root, "segments", "the table")]
        segments = _place([_classify(_spec_of(entry), chunk) for entry in entries], chunk)
        for entry, segment in zip(entries, segments, strict=True):
            stated = (entry.get("name"), entry.get("kind"), entry.get("offset"))
            if stated != (segment.name, segment.kind, segment.offset):
                raise SpaceError(
                    f"segment {stated[0]!r} is stated as {stated[1]} at {stated[2]}, but the order of the table "
                    f"puts {segment.name!r} as {segment.kind} at {segment.offset}"
                )
        integers = _place_integers(
            _spec_of({**_object(entry, "an integer buffer"), "kind": "buffers", "group": 0})
            for entry in _list(root, "integers", "the table")
        )
        size = _padded_size(segments, chunk)
        if _integer(root, "size", "the table") != size:
            raise SpaceError(f"size is stated as {root['size']}, but the segments need {size}")
        starts = _list(root, "spans", "the table")
        bounds = [*starts, size]
        if not starts or any(type(start) is not int or start % chunk for start in starts) or starts[0] != 0:
            raise SpaceError(f"spans must be starts in multiples of {chunk}, the first 0")
        if any(start >= stop for start, stop in pairwise(bounds)):
            raise SpaceError("spans must grow and end before the vector does")
        return cls._assemble(segments, integers, bounds, chunk)


def _classify(spec: TensorSpec, chunk: int) -> Segment:
    dtype = spec.dtype.removeprefix("torch.")
    if dtype not in FLOATS:
        raise SpaceError(f"tensor {spec.name!r} is {dtype}; trained tensors must be one of {', '.join(sorted(FLOATS))}")
    size = _size(spec)
    kind: Kind = "buffers" if spec.role == "buffer" else "small" if size < chunk else "weights"
    return Segment(spec.name, tuple(spec.shape), dtype, kind, spec.group, 0, size)


def _size(spec: TensorSpec) -> int:
    if not spec.name:
        raise SpaceError("a tensor has no name")
    if any(length < 0 for length in spec.shape):
        raise SpaceError(f"tensor {spec.name!r} has the shape {spec.shape}; no length may be negative")
    if spec.group < 0:
        raise SpaceError(f"tensor {spec.name!r} has the parameter group {spec.group}; groups count from 0")
    return math.prod(spec.shape)


def _place(unplaced: list[Segment], chunk: int) -> tuple[Segment, ...]:
    ordered = sorted(unplaced, key=lambda segment: (KINDS.index(segment.kind), segment.group))
    placed: list[Segment] = []
    offset = 0
    for segment in ordered:
        if placed and (placed[-1].kind, placed[-1].group) != (segment.kind, segment.group):
            offset += -offset % chunk
        placed.append(
            Segment(segment.name, segment.shape, segment.dtype, segment.kind, segment.group, offset, segment.size)
        )
        offset += segment.size
    return tuple(placed)


def _place_integers(specs: Iterable[TensorSpec]) -> tuple[IntegerBuffer, ...]:
    placed = []
    offset = 0
    for spec in specs:
        dtype = spec.dtype.removeprefix("torch.")
        if dtype not in INTEGERS:
            raise SpaceError(f"integer buffer {spec.name!r} is {dtype}; known are {', '.join(sorted(INTEGERS))}")
        size = _size(spec)
        placed.append(IntegerBuffer(spec.name, tuple(spec.shape), dtype, offset, size))
        offset += size
    return tuple(placed)


def _padded_size(segments: Sequence[Segment], chunk: int) -> int:
    end = segments[-1].stop if segments else 0
    return end + -end % chunk


def _regions(segments: Iterable[Segment]) -> list[Run]:
    """One run for each (kind, group), in elements of the whole vector; empty ones left out."""
    regions: dict[tuple[Kind, int], Run] = {}
    for segment in segments:
        if segment.size:
            key = (segment.kind, segment.group)
            start = regions[key].start if key in regions else segment.offset
            regions[key] = Run(*key, start, segment.stop)
    return list(regions.values())


def _runs(regions: Iterable[Run], start: int, stop: int) -> tuple[Run, ...]:
    return tuple(
        Run(region.kind, region.group, max(region.start, start) - start, min(region.stop, stop) - start)
        for region in regions
        if max(region.start, start) < min(region.stop, stop)
    )


def _require_unique_names(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SpaceError(f"two tensors are named {name!r}")
        seen.add(name)


def _first_difference(
    what: str, mine: Sequence[Segment | IntegerBuffer], theirs: Sequence[Segment | IntegerBuffer]
) -> str | None:
    by_name = {item.name: item for item in theirs}
    for item in mine:
        other = by_name.pop(item.name, None)
        if other is None:
            return f"{what} {item.name!r} {item.shape} is here and not there"
        for field in ("shape", "dtype", "kind", "group"):
            here, there = getattr(item, field, None), getattr(other, field, None)
            if here != there:
                return f"{what} {item.name!r} has the {field} {here} here and {there} there"
    for name, other in by_name.items():
        return f"{what} {name!r} {other.shape} is there and not here"
    for item, other in zip(mine, theirs, strict=True):
        if item.name != other.name:
            return f"{what}s stand in another order: {item.name!r} here where {other.name!r} is there"
    return None


def _spec_of(entry: Mapping[str, Any]) -> TensorSpec:
    name, dtype, kind = entry.get("name"), entry.get("dtype"), entry.get("kind")
    if not isinstance(name, str) or not isinstance(dtype, str):
        raise SpaceError(f"a tensor's name and dtype must be text, got {name!r} and {dtype!r}")
    if kind not in KINDS:
        raise SpaceError(f"segment {name!r} has the kind {kind!r}; known are {', '.join(KINDS)}")
    shape = _list(entry, "shape", f"tensor {name!r}")
    if any(type(length) is not int for length in shape):
        raise SpaceError(f"tensor {name!r} has the shape {shape}; lengths must be whole numbers")
    role: Literal["parameter", "buffer"] = "buffer" if kind == "buffers" else "parameter"
    return TensorSpec(name, tuple(shape), dtype, role, _integer(entry, "group", f"tensor {name!r}"))


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SpaceError(f"{where} must be an object, got {type(value).__name__}")
    return value


def _list(entry: Mapping[str, Any], field: str, where: str) -> list[Any]:
    value = entry.get(field)
    if not isinstance(value, list):
        raise SpaceError(f"{field} of {where} must be a list")
    return value


def _integer(entry: Mapping[str, Any], field: str, where: str) -> int:
    value = entry.get(field)
    if type(value) is not int:
        raise SpaceError(f"{field} of {where} must be a whole number, got {value!r}")
    return value
