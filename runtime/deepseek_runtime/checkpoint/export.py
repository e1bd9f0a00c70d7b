"""A checkpoint as one plain model.safetensors: the names, shapes and dtypes of the model's own state dict.

The parts are read once, in order, and each element is written to its place in the new file: memory stays bounded
whatever the model's size. Nothing appears under the target's name before all checksums have been proved.
"""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from deepseek_runtime.checkpoint.choose import find_checkpoint
from deepseek_runtime.checkpoint.index import Index
from deepseek_runtime.checkpoint.local import LocalStore
from deepseek_runtime.checkpoint.read import PartReader, PieceReader
from deepseek_runtime.checkpoint.store import Store, StoreError
from deepseek_runtime.checkpoint.tensors import BFLOAT16, Array, Entry, Header, encode_header, lay_out
from deepseek_runtime.protocol.files import FileRef
from deepseek_runtime.protocol.lineage import Step
from deepseek_runtime.space import F32, Segment, Space

_ELEMENTS: Final = 1 << 20
"""Elements of the vector that are in memory at once."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    path: Path
    step: int
    term: int
    tensors: int
    """Names in the file, tied ones included."""
    size: int
    """Bytes."""
    passed_over: tuple[tuple[Step, str], ...] = ()
    """Newer checkpoints that cannot be read, and why."""


def export(
    uri: str,
    out_path: str | Path,
    step: int | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    volatile: bool = False,
) -> ExportResult:
    """Writes the newest checkpoint (or that of `step`) of a job's folder or URI, or an index.json, to `out_path`.

    The file loads into the bare model: `model.load_state_dict(safetensors.torch.load_file(path))`. Raises StoreError.
    """
    store, choice = find_checkpoint(uri, options, step, volatile=volatile)
    index = choice.index
    target = Path(os.path.abspath(Path(out_path).expanduser()))
    try:
        names, size = _Export(store, index).write(target)
    except OSError as error:
        raise LocalStore(target.parent)._explained(error, target.name) from error
    return ExportResult(target, index.step, index.term, names, size, choice.passed_over)


class _Export:
    def __init__(self, store: Store, index: Index) -> None:
        self.store = store
        self.index = index
        self.space = Space.from_json(index.space)

    def write(self, target: Path) -> tuple[int, int]:
        """-> (tensors, bytes)"""
        fixed = None if self.index.fixed is None else self._header(self.index.fixed.ref)
        header = self._layout(fixed)
        beginning = encode_header(header)
        self._places = {entry.name: len(beginning) + entry.start for entry in header.entries}
        self._names: dict[str, list[str]] = {}
        for alias, name in self._aliases.items():
            self._names.setdefault(name, [name]).append(alias)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            with open(temporary, "xb") as self._file:
                self._file.write(beginning)
                self._file.truncate(len(beginning) + header.data_bytes)
                self._copy_vector()
                if self.index.fixed is not None:
                    self._copy_fixed(self.index.fixed.ref)
                self._file.flush()
                os.fsync(self._file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        return len(header.entries), len(beginning) + header.data_bytes

    _file: BinaryIO

    @property
    def _aliases(self) -> dict[str, str]:
        return self.index.aliases or self.index.space.get("aliases") or {}

    def _layout(self, fixed: Header | None) -> Header:
        tensors: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        for segment in self.space.segments:
            tensors[segment.name] = (_dtype(segment.dtype), segment.shape)
        for buffer in self.space.integers:
            tensors[buffer.name] = (_dtype(buffer.dtype), buffer.shape)
        for entry in fixed.entries if fixed is not None else ():
            tensors[entry.name] = (entry.dtype, entry.shape)
        for alias, name in self._aliases.items():
            if name not in tensors:
                raise StoreError("damaged", f"{self._where} ties {alias!r} to {name!r}, which it does not have")
            tensors[alias] = tensors[name]
        return lay_out(tensors, {"format": "pt", "step": str(self.index.step), "job": self.index.job})

    @property
    def _where(self) -> str:
        return f"{self.store.uri}: step {self.index.step} of term {self.index.term}"

    def _header(self, ref: FileRef) -> Header:
        with self.store.open_read(ref.path) as file:
            return PartReader(file, ref, f"{self.store.uri}/{ref.path}").header

    def _copy_vector(self) -> None:
        """The parts in order are the vector; each segment takes its elements from it."""
        for part, span in zip(self.index.parts, self.space.spans, strict=True):
            with self.store.open_read(part.path) as file:
                where = f"{self.store.uri}/{part.path}"
                reader = PartReader(file, part.ref, where)
                for entry in reader.header.entries:
                    pieces = reader.pieces(entry)
                    if entry.name == "theta":
                        if entry.dtype != np.float32 or pieces.left != span.size:
                            raise StoreError("damaged", f"{where} is damaged: its theta must be {span.size} float32")
                        self._copy_theta(pieces, span.start)
                    elif entry.name == "integers":
                        self._copy_integers(pieces, where)
                    else:
                        _drain(pieces)
                reader.finish()

    def _copy_theta(self, pieces: PieceReader, start: int) -> None:
        while pieces.left:
            values: F32 = pieces.take(_ELEMENTS)
            for segment in _overlapping(self.space.segments, start, start + len(values)):
                first, last = max(segment.offset, start), min(segment.stop, start + len(values))
                self._put(
                    segment.name, first - segment.offset, _cast(values[first - start : last - start], segment.dtype)
                )
            start += len(values)

    def _copy_integers(self, pieces: PieceReader, where: str) -> None:
        values = pieces.take(pieces.left)
        if len(values) != self.space.integers_size:
            raise StoreError("damaged", f"{where} is damaged: its integers must be {self.space.integers_size}")
        for buffer in self.space.integers:
            self._put(buffer.name, 0, values[buffer.offset : buffer.offset + buffer.size].astype(_dtype(buffer.dtype)))

    def _copy_fixed(self, ref: FileRef) -> None:
        with self.store.open_read(ref.path) as file:
            reader = PartReader(file, ref, f"{self.store.uri}/{ref.path}")
            for entry in reader.header.entries:
                self._copy_whole(entry, reader.pieces(entry))
            reader.finish()

    def _copy_whole(self, entry: Entry, pieces: PieceReader) -> None:
        place = 0
        while pieces.left:
            values = pieces.take(_ELEMENTS)
            self._put(entry.name, place, values)
            place += len(values)

    def _put(self, name: str, place: int, values: Array) -> None:
        for each in self._names.get(name, [name]):
            self._file.seek(self._places[each] + place * values.dtype.itemsize)
            self._file.write(values.view(np.uint8).data)


def _overlapping(segments: tuple[Segment, ...], start: int, stop: int) -> list[Segment]:
    return [segment for segment in segments if segment.offset < stop and segment.stop > start]


def _drain(pieces: PieceReader) -> None:
    while pieces.left:
        pieces.take(_ELEMENTS)


def _dtype(name: str) -> np.dtype[Any]:
    return BFLOAT16 if name == "bfloat16" else np.dtype(name)


def _cast(values: F32, dtype: str) -> Array:
    return to_bfloat16(values) if dtype == "bfloat16" else values.astype(np.dtype(dtype), copy=False)


def to_bfloat16(values: F32) -> Array:
    """Rounds to nearest, ties to even, as torch does; not-a-number stays so. [n] BFLOAT16"""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded).view(BFLOAT16)
