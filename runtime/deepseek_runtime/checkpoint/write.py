"""One safetensors file, streamed into a store: bounded memory whatever its size, its checksum taken on the way."""

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np

from deepseek_runtime.checkpoint.store import PIECE, Store
from deepseek_runtime.checkpoint.tensors import Array, encode_header, lay_out
from deepseek_runtime.protocol.files import FileRef

Part = FileRef
"""A file of a checkpoint (path from the store's root, sha256, bytes): how to know that it is what was written."""


def write_part(store: Store, path: str, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> Part:
    """Writes `tensors` as one safetensors file; it stands at `path` when this returns, synced, or not at all.

    Raises StoreError, and ValueError for a dtype that the format does not have.
    """
    header = lay_out({name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}, metadata)
    digest = hashlib.sha256()
    beginning = encode_header(header)
    with store.open_write(path) as sink:
        sink.write(beginning)
        digest.update(beginning)
        for entry in header.entries:
            for piece in _bytes_of(tensors[entry.name], entry.dtype):
                sink.write(piece)
                digest.update(piece)
    return Part(path=path, sha256=digest.hexdigest(), size=len(beginning) + header.data_bytes)


def digest_of(tensors: Mapping[str, Array]) -> str:
    """A name for the content of some tensors: 16 hexadecimal digits of the SHA-256 of their file without metadata."""
    header = lay_out({name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}, {})
    digest = hashlib.sha256(encode_header(header))
    for entry in header.entries:
        for piece in _bytes_of(tensors[entry.name], entry.dtype):
            digest.update(piece)
    return digest.hexdigest()[:16]


def _bytes_of(tensor: Array, dtype: np.dtype[np.generic]) -> Iterator[memoryview]:
    flat = np.ascontiguousarray(tensor, dtype).reshape(-1).view(np.uint8)
    for start in range(0, flat.nbytes, PIECE):
        yield flat[start : start + PIECE].data
