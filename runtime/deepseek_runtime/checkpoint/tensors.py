"""The safetensors format: eight bytes of header length, a JSON header, then the raw little-endian data.

(https://github.com/huggingface/safetensors#format.) Ours, because the library either builds a whole file in memory or
writes local paths only; what is written here any safetensors reader reads.

numpy has no bfloat16. Such tensors are arrays of the dtype BFLOAT16, two bytes in a field of that name:
`array.view(BFLOAT16)` makes one of uint16 bits, `array.view(np.uint16)` gives the bits back.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BFLOAT16: Final = np.dtype([("bfloat16", "<u2")])
MAX_HEADER: Final = 100_000_000
"""Bytes; the reference reader's limit."""

_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": BFLOAT16,
    "C64": np.dtype("<c8"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_CODES: Final = {dtype: code for code, dtype in _DTYPES.items()}


class FormatError(ValueError):
    """Not a safetensors file, or one that breaks the format's rules."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor stands: bytes start .. stop of the data behind the header."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Header:
    entries: tuple[Entry, ...]
    """In the order of their data."""
    metadata: dict[str, str]

    @property
    def data_bytes(self) -> int:
        return self.entries[-1].stop if self.entries else 0


def code_of(dtype: np.dtype[Any]) -> str:
    """The format's name of a dtype. Raises ValueError for one that it does not have."""
    try:
        return _CODES[dtype.newbyteorder("<") if dtype.names is None else dtype]
    except KeyError:
        raise ValueError(f"safetensors has no dtype for {dtype}; it has {', '.join(_DTYPES)}") from None


def lay_out(tensors: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]], metadata: Mapping[str, str]) -> Header:
    """Places the data without gaps, wide dtypes first (so that every tensor is aligned), then by name."""
    order = sorted(tensors, key=lambda name: (-tensors[name][0].itemsize, name))
    entries, start = [], 0
    for name in order:
        dtype, shape = tensors[name]
        stop = start + dtype.itemsize * math.prod(shape)
        entries.append(Entry(name, _DTYPES[code_of(dtype)], tuple(shape), start, stop))
        start = stop
    return Header(tuple(entries), dict(metadata))


def encode_header(header: Header) -> bytes:
    """The file's beginning, up to the first byte of data."""
    document: dict[str, Any] = {"__metadata__": dict(sorted(header.metadata.items()))} if header.metadata else {}
    for entry in header.entries:
        document[entry.name] = {
            "dtype": code_of(entry.dtype),
            "shape": list(entry.shape),
            "data_offsets": [entry.start, entry.stop],
        }
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def header_length(first: bytes) -> int:
    """From a file's first eight bytes: how many follow before the data. Raises FormatError."""
    length = int.from_bytes(first, "little")
    if len(first) != 8 or not 2 <= length <= MAX_HEADER:
        raise FormatError("the file does not begin with the length of a header")
    return length


def decode_header(text: bytes) -> Header:
    """Raises FormatError: no JSON, an unknown dtype, offsets that leave gaps, overlap or contradict a shape."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError("the header is not JSON") from error
    if not isinstance(document, dict):
        raise FormatError("the header is not an object")
    metadata = document.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError("the header's metadata are not texts")
    entries = sorted((_entry(name, value) for name, value in document.items()), key=lambda e: (e.start, e.stop))
    end = 0
    for entry in entries:
        if entry.start != end:
            raise FormatError(f"{entry.name!r} begins at {entry.start}, not at {end}")
        end = entry.stop
    return Header(tuple(entries), metadata)


def _entry(name: str, value: object) -> Entry:
    match value:
        case {"dtype": str(code), "shape": [*shape], "data_offsets": [int(start), int(stop)]} if code in _DTYPES:
            if all(type(size) is int and size >= 0 for size in shape) and 0 <= start <= stop:
                dtype = _DTYPES[code]
                if dtype.itemsize * math.prod(shape) == stop - start:
                    return Entry(name, dtype, tuple(shape), start, stop)
    raise FormatError(f"the header's entry {name!r} is not one of a tensor")
