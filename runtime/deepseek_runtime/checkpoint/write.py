"""One safetensors file, streamed into a store: bounded memory whatever its size, its checksum taken on the way."""

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np

from deepseek_runtime.checkpoint.store import PIECE, Store
from deepseek_runtime.checkpoint.tensors import Array, Tensor, encode_header, lay_out
from deepseek_runtime.protocol.messages import FileRef

Part = FileRef
"""A file of a checkpoint (path from the store's root, sha256, bytes): how to know that it is what was written."""


def write_part(store: Store, path: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Part:
    """Writes `tensors` as one safetensors file; it stands at `path` when this returns, synced, or not at all.

    tensors: arrays, or `Streamed` ones whose pieces are taken in order. Raises StoreError, and ValueError for a dtype
    that the format does not have or pieces that do not add up to their shape.
    """
    header = lay_out({name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}, metadata)
    digest = hashlib.sha256()
    beginning = encode_header(header)
    with store.open_write(path) as sink:
        sink.write(beginning)
        digest.update(beginning)
        for entry in header.entries:
            written = 0
            for piece in _bytes_of(tensors[entry.name], entry.dtype):
                sink.write(piece)
                digest.update(piece)
                written += piece.nbytes
            if written != entry.stop - entry.start:
                raise ValueError(
                    f"{entry.name!r} has {written} bytes where its shape asks for {entry.stop - entry.start}"
                )
    return Part(path=path, sha256=digest.hexdigest(), size=len(beginning) + header.data_bytes)


def digest_of(tensors: Mapping[str, Array]) -> str:
    """A name for the content of some tensors: 16 hexadecimal digits of the SHA-256 of their file without metadata."""
    header = lay_out({name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}, {})
    digest = hashlib.sha256(encode_header(header))
    for entry in header.entries:
        for piece in _bytes_of(tensors[entry.name], entry.dtype):
            digest.update(piece)
    return digest.hexdigest()[:16]


def _bytes_of(tensor: Tensor, dtype: np.dtype[np.generic]) -> Iterator[memoryview]:
    pieces = iter((tensor,)) if isinstance(tensor, np.ndarray) else tensor.pieces()
    for piece in pieces:
        flat = np.ascontiguousarray(piece, dtype).reshape(-1).view(np.uint8)
        for start in range(0, flat.nbytes, PIECE):
            yield flat[start : start + PIECE].data
