"""Reads a file of a checkpoint and proves that it is what was written."""

import hashlib
from typing import BinaryIO

import numpy as np

from deepseek_runtime.checkpoint.store import PIECE, Store, StoreError
from deepseek_runtime.checkpoint.tensors import Array, Entry, FormatError, Header, decode_header, header_length
from deepseek_runtime.checkpoint.write import Part


class PartReader:
    """The tensors of an open part, in the order of their data; every byte goes through the checksum.

    Nothing of it may be trusted before `finish` has returned. Raises StoreError(damaged).
    """

    def __init__(self, file: BinaryIO, part: Part, where: str) -> None:
        self._file = file
        self._part = part
        self._where = where
        self._digest = hashlib.sha256()
        try:
            first = self._take(8)
            length = header_length(first)
            if 8 + length > part.size:
                raise FormatError("its header is longer than the file")
            self.header: Header = decode_header(self._take(length))
            if 8 + length + self.header.data_bytes != part.size:
                raise FormatError(f"its tensors do not fill its {part.size} bytes")
        except FormatError as error:
            raise self._damaged(str(error)) from error

    def read(self, entry: Entry) -> Array:
        """The whole next tensor. [entry.shape]"""
        try:
            array = np.empty(entry.shape, entry.dtype)
        except ValueError as error:  # no elements, but sides beyond what numpy can count
            raise self._damaged(f"{entry.name!r} has an impossible shape") from error
        self._fill(array.reshape(-1))
        return array

    def finish(self) -> None:
        """All tensors are read: nothing may follow, and the checksum must fit."""
        if self._file.read(1):
            raise self._damaged(f"it is longer than {self._part.size} bytes")
        if self._digest.hexdigest() != self._part.sha256:
            raise self._damaged("its checksum is another than when it was written")

    def pieces(self, entry: Entry) -> "PieceReader":
        """The next tensor, to be taken bit by bit."""
        return PieceReader(self, entry)

    def _fill(self, flat: Array) -> None:
        view = flat.view(np.uint8).data
        for start in range(0, len(view), PIECE):
            target = view[start : start + PIECE]
            target[:] = self._take(len(target))

    def _take(self, count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            more = self._file.read(count - len(taken))
            if not more:
                raise self._damaged("it ends too early")
            taken = taken + more if taken else more
        self._digest.update(taken)
        return taken

    def _damaged(self, what: str) -> StoreError:
        return StoreError("damaged", f"{self._where} is damaged: {what}")


class PieceReader:
    """Takes a tensor's elements in order, as many as wanted at a time."""

    def __init__(self, reader: PartReader, entry: Entry) -> None:
        self._reader = reader
        self._dtype = entry.dtype
        self.left = (entry.stop - entry.start) // entry.dtype.itemsize
        """Elements not taken yet."""

    def take(self, most: int) -> Array:
        """The next elements: `most`, or what is left. [n]"""
        array = np.empty(min(most, self.left), self._dtype)
        self._reader._fill(array)
        self.left -= len(array)
        return array


def read_part(store: Store, part: Part) -> dict[str, Array]:
    """All tensors of a part. Raises StoreError: damaged when checksum or size are not the part's, missing ..."""
    return read_part_with_metadata(store, part)[0]


def read_part_with_metadata(store: Store, part: Part) -> tuple[dict[str, Array], dict[str, str]]:
    with store.open_read(part.path) as file:
        reader = PartReader(file, part, f"{store.uri}/{part.path}")
        tensors = {entry.name: reader.read(entry) for entry in reader.header.entries}
        reader.finish()
    return tensors, reader.header.metadata


def verify_part(store: Store, part: Part) -> None:
    """Reads a part through and keeps nothing of it. Raises as `read_part`."""
    with store.open_read(part.path) as file:
        reader = PartReader(file, part, f"{store.uri}/{part.path}")
        for entry in reader.header.entries:
            pieces = reader.pieces(entry)
            while pieces.left:
                pieces.take(PIECE // entry.dtype.itemsize)
        reader.finish()
